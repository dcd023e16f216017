// Parameters and reductions shared by the attention kernels.
#pragma once

#include "device.cuh"

namespace attention {

// Distances between neighbours in elements.
struct Strides {
    int64_t batch, head, token;
};

struct Sizes {
    int32_t heads, queries, keys;
};

// Maximum and sum over the four lanes that share a row of a fragment.
DEVICE float row_max(float x) {
    x = fmaxf(x, lane_xor(x, 1));
    return fmaxf(x, lane_xor(x, 2));
}

DEVICE float row_sum(float x) {
    x += lane_xor(x, 1);
    return x + lane_xor(x, 2);
}

}  // namespace attention

// Kernel that calls `attention::attend` of its file with the given template arguments. `out (batch, queries, heads,
// width)` is contiguous. `scale` is the scale of the scores times log2 e, and positive. Grid: queries over those of a
// block, rounded up; batch · heads.
#define ATTENTION(name, threads, ...)                                                                                  \
    extern "C" __global__ void THREADS_PER_BLOCK(threads)                                                              \
        name(const bf16 *q, const bf16 *k, const bf16 *v, bf16 *out, attention::Strides q_strides,                     \
             attention::Strides k_strides, attention::Strides v_strides, attention::Sizes sizes, float scale) {        \
        attention::attend<__VA_ARGS__>(q, k, v, out, q_strides, k_strides, v_strides, sizes, scale);                   \
    }
