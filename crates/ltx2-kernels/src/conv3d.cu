// What a 3-D convolution adds to its product, rounded where the plain form in conv3d.rs rounds.
#include "device.cuh"

namespace conv3d {

// `out` and `added`, if there is one, begin at the first of `packs` neighbours; from there to the same of the next channel it
// is `step` packs, and to those of the next frame as many times that as there are channels.
template <typename T, int N>
DEVICE void add(T *out, const T *bias, const T *added, uint32_t packs, uint32_t step) {
    using P = Pack<T, N>;
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= packs) return;
    const int64_t at = (static_cast<int64_t>(blockIdx.z) * gridDim.y + blockIdx.y) * step + i;
    const float offset = to_float(bias[blockIdx.y]);
    P sum = reinterpret_cast<const P *>(out)[at];
    UNROLL for (int j = 0; j < N; j++) sum.at[j] = round_to<T>(add_rn(to_float(sum.at[j]), offset));
    if (added != nullptr) {
        const P other = reinterpret_cast<const P *>(added)[at];
        UNROLL for (int j = 0; j < N; j++) sum.at[j] = round_to<T>(add_rn(to_float(other.at[j]), to_float(sum.at[j])));
    }
    reinterpret_cast<P *>(out)[at] = sum;
}

}  // namespace conv3d

// The name says how many values a thread has: that has to divide packs' and steps' lengths. Grid: packs over threads, rounded
// up; channels; frames.
#define ADD_BIAS(name, T, N)                                                                                           \
    extern "C" __global__ void name(T *out, const T *bias, const T *added, uint32_t packs, uint32_t step) {            \
        conv3d::add<T, N>(out, bias, added, packs, step);                                                              \
    }

ADD_BIAS(add_bias_bf16x8, bf16, 8)
ADD_BIAS(add_bias_bf16x1, bf16, 1)
ADD_BIAS(add_bias_f32x4, float, 4)
ADD_BIAS(add_bias_f32x1, float, 1)
