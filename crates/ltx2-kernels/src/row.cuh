// Work on rows: one block for each.
#pragma once

#include "device.cuh"

// The sum over all threads of a block, for each of them; a block has whole warps, and calls this once.
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

// 1 over the root of the mean square of a row of `packs` packs, of which `eps` is part; of its sum with `bias`, if there is
// one.
template <typename T, int N>
DEVICE float inverse_rms(const Pack<T, N> *row, const Pack<T, N> *bias, int packs, float eps) {
    float sum = 0.0f;
    for (int i = threadIdx.x; i < packs; i += blockDim.x) {
        Pack<T, N> pack = with_bias(row[i], bias, i);
        UNROLL for (int j = 0; j < N; j++) sum += to_float(pack.at[j]) * to_float(pack.at[j]);
    }
    return rsqrtf(block_sum(sum) / (packs * N) + eps);
}
