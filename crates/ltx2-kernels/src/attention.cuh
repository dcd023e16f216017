// What the attention kernels have in common.
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

// The largest, or the sum, of the four lanes that share a row.
DEVICE float row_max(float x) {
    x = fmaxf(x, lane_xor(x, 1));
    return fmaxf(x, lane_xor(x, 2));
}

DEVICE float row_sum(float x) {
    x += lane_xor(x, 1);
    return x + lane_xor(x, 2);
}

}  // namespace attention

// A kernel that calls `attention::attend` of its file with template arguments. `out (batch, queries, heads, width)`,
// contiguous; `scale` is that of the scores times log2 e, and above zero. Grid: queries over a block's, rounded up;
// batch · heads.
#define ATTENTION(name, threads, ...)                                                                                  \
    extern "C" __global__ void THREADS_PER_BLOCK(threads)                                                              \
        name(const bf16 *q, const bf16 *k, const bf16 *v, bf16 *out, attention::Strides q_strides,                     \
             attention::Strides k_strides, attention::Strides v_strides, attention::Sizes sizes, float scale) {        \
        attention::attend<__VA_ARGS__>(q, k, v, out, q_strides, k_strides, v_strides, sizes, scale);                   \
    }
