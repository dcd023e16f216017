// Reductions over rows, with one block per row.
#pragma once

#include "device.cuh"

// Sum of `x` over all threads of the block, returned to each of them. The block consists of whole warps and calls this
// once.
DEVICE float block_sum(float x) {
    __shared__ float sums[32];
    UNROLL for (int mask = 16; mask > 0; mask /= 2) x += lane_xor(x, mask);
    const int warps = blockDim.x / 32;
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = x;
    __syncthreads();
    float sum = 0.0f;
    for (int warp = 0; warp < warps; warp++) sum += sums[warp];
    return sum;
}

// 1 / sqrt(mean square + eps) of a row of `vectors` vectors, with `bias` added first if it is not null.
template <typename T, int N>
DEVICE float inverse_rms(const Vector<T, N> *row, const Vector<T, N> *bias, int vectors, float eps) {
    float sum = 0.0f;
    for (int i = threadIdx.x; i < vectors; i += blockDim.x) {
        Vector<T, N> vector = with_bias(row[i], bias, i);
        UNROLL for (int j = 0; j < N; j++) sum += to_float(vector.at[j]) * to_float(vector.at[j]);
    }
    return rsqrtf(block_sum(sum) / (vectors * N) + eps);
}
