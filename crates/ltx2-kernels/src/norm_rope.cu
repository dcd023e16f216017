// Bias, root-mean-square norm over all heads of a token, then the split rotary embedding of each head, rounded where
// norm_rope.rs rounds.
#include "row.cuh"

namespace norm_rope {

template <typename T>
DEVICE void norm_rotate(const T *x, const T *biases, const T *weights, const T *cosines, const T *sines, T *out,
                        int tokens, int heads, int head_width, float eps) {
    constexpr int N = 16 / sizeof(T);
    using V = Vector<T, N>;
    const int64_t row = blockIdx.x, token = row % tokens;
    const int vectors = heads * head_width / N, half = head_width / 2 / N;
    const V *from = reinterpret_cast<const V *>(x) + row * vectors;
    const V *bias = reinterpret_cast<const V *>(biases), *weight = reinterpret_cast<const V *>(weights);
    V *to = reinterpret_cast<V *>(out) + row * vectors;
    const float inverse = inverse_rms<T, N>(from, bias, vectors, eps);
    auto normed = [&](T value, T gain) {
        return mul_rn(mul_rn(inverse, to_float(value)), to_float(gain));
    };
    for (int i = threadIdx.x; i < heads * half; i += blockDim.x) {
        const int head = i / half, at = i % half, first = head * 2 * half + at, second = first + half;
        const int64_t angle = (head * static_cast<int64_t>(tokens) + token) * half + at;
        V a = with_bias(from[first], bias, first), b = with_bias(from[second], bias, second);
        V a_gain = weight[first], b_gain = weight[second];
        UNROLL for (int j = 0; j < N; j++) {
            a.at[j] = round_to<T>(normed(a.at[j], a_gain.at[j]));
            b.at[j] = round_to<T>(normed(b.at[j], b_gain.at[j]));
        }
        if (cosines != nullptr) {
            V cosine = reinterpret_cast<const V *>(cosines)[angle], sine = reinterpret_cast<const V *>(sines)[angle];
            UNROLL for (int j = 0; j < N; j++) {
                float u = to_float(a.at[j]), v = to_float(b.at[j]);
                float c = to_float(cosine.at[j]), s = to_float(sine.at[j]);
                a.at[j] = round_to<T>(add_rn(rounded<T>(mul_rn(u, c)), -rounded<T>(mul_rn(v, s))));
                b.at[j] = round_to<T>(add_rn(rounded<T>(mul_rn(u, s)), rounded<T>(mul_rn(v, c))));
            }
        }
        to[first] = a;
        to[second] = b;
    }
}

}  // namespace norm_rope

// `x` and `out (batch, tokens, heads, width)`, `bias` and `weight (heads, width)`, `cos` and `sin (heads, tokens, width
// / 2)`. `bias` may be null, and both `cos` and `sin` without a rotation. Half a head is a multiple of 16 bytes. Grid:
// batch · tokens.
#define NORM_ROPE(name, T)                                                                                             \
    extern "C" __global__ void name(const T *x, const T *bias, const T *weight, const T *cos, const T *sin, T *out,    \
                                    int32_t tokens, int32_t heads, int32_t head_width, float eps) {                    \
        norm_rope::norm_rotate<T>(x, bias, weight, cos, sin, out, tokens, heads, head_width, eps);                     \
    }

NORM_ROPE(norm_rope_bf16, bf16)
NORM_ROPE(norm_rope_f32, float)
