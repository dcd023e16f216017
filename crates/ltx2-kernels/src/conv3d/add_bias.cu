// In-place addition of the bias and an optional residual to the product of an im2col convolution, rounded where
// candle's separate additions round.
#include "device.cuh"

namespace conv3d_add_bias {

// `out` and `residual` start at the first vector of the slice. Each channel of the slice has `vectors` contiguous
// vectors, and neighbouring channels are `step` vectors apart.
template <typename T, int N>
DEVICE void add(T *out, const T *bias, const T *residual, uint32_t vectors, uint32_t step) {
    using V = Vector<T, N>;
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= vectors) return;
    const int64_t at = (static_cast<int64_t>(blockIdx.z) * gridDim.y + blockIdx.y) * step + i;
    const float offset = to_float(bias[blockIdx.y]);
    V sum = reinterpret_cast<const V *>(out)[at];
    UNROLL for (int j = 0; j < N; j++) sum.at[j] = round_to<T>(add_rn(to_float(sum.at[j]), offset));
    if (residual != nullptr) {
        const V other = reinterpret_cast<const V *>(residual)[at];
        UNROLL for (int j = 0; j < N; j++) sum.at[j] = round_to<T>(add_rn(to_float(other.at[j]), to_float(sum.at[j])));
    }
    reinterpret_cast<V *>(out)[at] = sum;
}

}  // namespace conv3d_add_bias

// The suffix is the number of values per vector. `residual` may be null. Grid: vectors over threads, rounded up;
// channels; frames.
#define ADD_BIAS(name, T, N)                                                                                           \
    extern "C" __global__ void name(T *out, const T *bias, const T *residual, uint32_t vectors, uint32_t step) {       \
        conv3d_add_bias::add<T, N>(out, bias, residual, vectors, step);                                                \
    }

ADD_BIAS(conv3d_add_bias_bf16x8, bf16, 8)
ADD_BIAS(conv3d_add_bias_bf16x1, bf16, 1)
ADD_BIAS(conv3d_add_bias_f32x4, float, 4)
ADD_BIAS(conv3d_add_bias_f32x1, float, 1)
