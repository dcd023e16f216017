// Root-mean-square norm and modulation of each row, rounded where the plain form in modulate.rs rounds.
#include "row.cuh"

namespace modulate {

// `scales` and `shifts` have a row for each of `x`, or one for all: then their step is 0. Without `scales` there is only the
// norm.
template <typename T>
DEVICE void norm(const T *x, const T *scales, const T *shifts, T *out, int width, int64_t scale_step, int64_t shift_step,
                 float eps) {
    constexpr int N = 16 / sizeof(T);
    using P = Pack<T, N>;
    const int64_t row = blockIdx.x;
    const P *from = reinterpret_cast<const P *>(x + row * width);
    const P *scale = reinterpret_cast<const P *>(scales + row * scale_step);
    const P *shift = reinterpret_cast<const P *>(shifts + row * shift_step);
    P *to = reinterpret_cast<P *>(out + row * width);
    const int packs = width / N;
    const float inverse = inverse_rms<T, N>(from, nullptr, packs, eps);
    for (int i = threadIdx.x; i < packs; i += blockDim.x) {
        P pack = from[i];
        UNROLL for (int j = 0; j < N; j++) pack.at[j] = round_to<T>(mul_rn(to_float(pack.at[j]), inverse));
        if (scales != nullptr) {
            P gain = scale[i], offset = shift[i];
            UNROLL for (int j = 0; j < N; j++) {
                float factor = rounded<T>(add_rn(to_float(gain.at[j]), 1.0f));
                float product = rounded<T>(mul_rn(to_float(pack.at[j]), factor));
                pack.at[j] = round_to<T>(add_rn(product, to_float(offset.at[j])));
            }
        }
        to[i] = pack;
    }
}

}  // namespace modulate

// Grid: the rows. `width` is a multiple of 16 bytes. `scale` and `shift` may both be null.
#define RMS_NORM_MODULATE(name, T)                                                                                     \
    extern "C" __global__ void name(const T *x, const T *scale, const T *shift, T *out, int32_t width,                 \
                                    int64_t scale_step, int64_t shift_step, float eps) {                               \
        modulate::norm<T>(x, scale, shift, out, width, scale_step, shift_step, eps);                                   \
    }

RMS_NORM_MODULATE(rms_norm_modulate_bf16, bf16)
RMS_NORM_MODULATE(rms_norm_modulate_f32, float)
