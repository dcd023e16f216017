// Root-mean-square norm over the channels of each pixel, then SiLU. The norm is rounded where the plain form in pixel_norm.rs
// rounds it; SiLU is computed in float32 and rounded once.
#include "device.cuh"

namespace pixel_norm {

// A block has LANES packs of neighbouring pixels, and GROUPS shares of their channels: so few pixels that what is read for
// the sums is still in a cache when it is read again.
constexpr int LANES = 8, GROUPS = 32, THREADS = LANES * GROUPS;

// 1 over the root of each pixel's mean square, for all threads of a block; `sums` are those of a thread's channels.
template <int N>
DEVICE void inverse_rms(float (&sums)[N], float (&inverses)[LANES * N], int channels, float eps) {
    __shared__ float squares[THREADS / 32][LANES * N];
    const int lane = threadIdx.x % LANES, warp = threadIdx.x / 32;
    UNROLL for (int j = 0; j < N; j++) {
        UNROLL for (int mask = LANES; mask < 32; mask *= 2) sums[j] += lane_xor(sums[j], mask);
        if (threadIdx.x % 32 < LANES) squares[warp][lane * N + j] = sums[j];
    }
    __syncthreads();
    if (threadIdx.x < LANES * N) {
        float sum = 0.0f;
        UNROLL for (int i = 0; i < THREADS / 32; i++) sum += squares[i][threadIdx.x];
        inverses[threadIdx.x] = rsqrtf(sum / channels + eps);
    }
    __syncthreads();
}

// x over 1 + exp(-x).
DEVICE float silu(float x) { return divide_fast(x, 1.0f + exp2_fast(x * -1.44269504f)); }

// `packs` is how many a channel of a frame has.
template <typename T, int N>
DEVICE void norm(const T *x, T *out, int channels, int packs, float eps) {
    using P = Pack<T, N>;
    __shared__ float inverses[LANES * N];
    const int lane = threadIdx.x % LANES, group = threadIdx.x / LANES, at = blockIdx.x * LANES + lane;
    // The last block's last lanes have no pixels, but wait with the others.
    const int end = at < packs ? channels : 0;
    const int64_t first = static_cast<int64_t>(blockIdx.y) * channels * packs + at;
    const P *from = reinterpret_cast<const P *>(x) + first;
    P *to = reinterpret_cast<P *>(out) + first;
    float sums[N] = {};
    for (int c = group; c < end; c += GROUPS) {
        const P pack = from[static_cast<int64_t>(c) * packs];
        UNROLL for (int j = 0; j < N; j++) sums[j] += to_float(pack.at[j]) * to_float(pack.at[j]);
    }
    inverse_rms<N>(sums, inverses, channels, eps);
    for (int c = group; c < end; c += GROUPS) {
        P pack = from[static_cast<int64_t>(c) * packs];
        UNROLL for (int j = 0; j < N; j++)
            pack.at[j] = round_to<T>(silu(rounded<T>(mul_rn(to_float(pack.at[j]), inverses[lane * N + j]))));
        to[static_cast<int64_t>(c) * packs] = pack;
    }
}

}  // namespace pixel_norm

// `x` and `out` (frames, channels, pixels); the name says how many pixels a thread reads at once: that has to divide theirs.
// Grid: packs over LANES, rounded up; frames.
#define PIXEL_NORM_SILU(name, T, N)                                                                                    \
    extern "C" __global__ void THREADS_PER_BLOCK(pixel_norm::THREADS)                                                  \
        name(const T *x, T *out, int32_t channels, int32_t packs, float eps) {                                         \
        pixel_norm::norm<T, N>(x, out, channels, packs, eps);                                                          \
    }

PIXEL_NORM_SILU(pixel_norm_silu_bf16x8, bf16, 8)
PIXEL_NORM_SILU(pixel_norm_silu_bf16x1, bf16, 1)
PIXEL_NORM_SILU(pixel_norm_silu_f32x4, float, 4)
PIXEL_NORM_SILU(pixel_norm_silu_f32x1, float, 1)
