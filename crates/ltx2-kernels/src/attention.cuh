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
