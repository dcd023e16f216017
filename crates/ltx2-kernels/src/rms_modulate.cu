// Root-mean-square norm and modulation of each row, rounded where rms_modulate.rs rounds.
#include "row.cuh"

namespace rms_modulate {

// `scales` and `shifts` have one row per row of `x`, or one row in all with a stride of 0. Null `scales` mean the norm
// alone.
template <typename T>
DEVICE void norm(const T *x, const T *scales, const T *shifts, T *out, int width, int64_t scale_stride,
                 int64_t shift_stride, float eps) {
    constexpr int N = 16 / sizeof(T);
    using V = Vector<T, N>;
    const int64_t row = blockIdx.x;
    const V *from = reinterpret_cast<const V *>(x + row * width);
    const V *scale = reinterpret_cast<const V *>(scales + row * scale_stride);
    const V *shift = reinterpret_cast<const V *>(shifts + row * shift_stride);
    V *to = reinterpret_cast<V *>(out + row * width);
    const int vectors = width / N;
    const float inverse = inverse_rms<T, N>(from, nullptr, vectors, eps);
    for (int i = threadIdx.x; i < vectors; i += blockDim.x) {
        V vector = from[i];
        UNROLL for (int j = 0; j < N; j++) vector.at[j] = round_to<T>(mul_rn(to_float(vector.at[j]), inverse));
        if (scales != nullptr) {
            V gain = scale[i], offset = shift[i];
            UNROLL for (int j = 0; j < N; j++) {
                float factor = rounded<T>(add_rn(to_float(gain.at[j]), 1.0f));
                float product = rounded<T>(mul_rn(to_float(vector.at[j]), factor));
                vector.at[j] = round_to<T>(add_rn(product, to_float(offset.at[j])));
            }
        }
        to[i] = vector;
    }
}

}  // namespace rms_modulate

// `width` is a multiple of 16 bytes. `scale` and `shift` may both be null. Grid: rows.
#define RMS_NORM_MODULATE(name, T)                                                                                     \
    extern "C" __global__ void name(const T *x, const T *scale, const T *shift, T *out, int32_t width,                 \
                                    int64_t scale_stride, int64_t shift_stride, float eps) {                           \
        rms_modulate::norm<T>(x, scale, shift, out, width, scale_stride, shift_stride, eps);                           \
    }

RMS_NORM_MODULATE(rms_norm_modulate_bf16, bf16)
RMS_NORM_MODULATE(rms_norm_modulate_f32, float)
