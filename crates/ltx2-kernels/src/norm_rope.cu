// Root-mean-square norm over all heads of a token's product and bias, then the rotary embedding of each head by halves,
// rounded where the plain form in norm_rope.rs rounds.
#include "row.cuh"

namespace norm_rope {

template <typename T>
DEVICE void turn(const T *x, const T *biases, const T *weights, const T *cosines, const T *sines, T *out, int tokens,
                 int heads, int head_width, float eps) {
    constexpr int N = 16 / sizeof(T);
    using P = Pack<T, N>;
    const int64_t row = blockIdx.x, token = row % tokens;
    const int packs = heads * head_width / N, half = head_width / 2 / N;
    const P *from = reinterpret_cast<const P *>(x) + row * packs;
    const P *bias = reinterpret_cast<const P *>(biases), *weight = reinterpret_cast<const P *>(weights);
    P *to = reinterpret_cast<P *>(out) + row * packs;
    const float inverse = inverse_rms<T, N>(from, bias, packs, eps);
    auto normed = [&](T value, T gain) {
        return mul_rn(mul_rn(inverse, to_float(value)), to_float(gain));
    };
    for (int i = threadIdx.x; i < heads * half; i += blockDim.x) {
        const int head = i / half, at = i % half, first = head * 2 * half + at, second = first + half;
        const int64_t angle = (head * static_cast<int64_t>(tokens) + token) * half + at;
        P a = with_bias(from[first], bias, first), b = with_bias(from[second], bias, second);
        P a_gain = weight[first], b_gain = weight[second];
        UNROLL for (int j = 0; j < N; j++) {
            a.at[j] = round_to<T>(normed(a.at[j], a_gain.at[j]));
            b.at[j] = round_to<T>(normed(b.at[j], b_gain.at[j]));
        }
        if (cosines != nullptr) {
            P cosine = reinterpret_cast<const P *>(cosines)[angle], sine = reinterpret_cast<const P *>(sines)[angle];
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

// `x` and `out (batch, tokens, heads, width)`, `bias` and `weight (heads, width)`, `cos` and `sin (heads, tokens,
// width / 2)`; `bias` may be null, and `cos` where nothing is turned. Grid: batch · tokens. Half a head is a multiple of
// 16 bytes.
#define NORM_ROPE(name, T)                                                                                             \
    extern "C" __global__ void name(const T *x, const T *bias, const T *weight, const T *cos, const T *sin, T *out,    \
                                    int32_t tokens, int32_t heads, int32_t head_width, float eps) {                    \
        norm_rope::turn<T>(x, bias, weight, cos, sin, out, tokens, heads, head_width, eps);                            \
    }

NORM_ROPE(norm_rope_bf16, bf16)
NORM_ROPE(norm_rope_f32, float)
