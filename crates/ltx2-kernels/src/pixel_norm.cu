// Root-mean-square norm over the channels of each pixel, then SiLU. The norm is rounded where the reference in
// pixel_norm.rs rounds it; SiLU is computed in float32 and rounded once.
#include "device.cuh"

namespace pixel_norm {

// A block has LANES vectors of neighbouring pixels and GROUPS groups of threads that share their channels: few enough
// pixels that the second read hits a cache.
constexpr int LANES = 8, GROUPS = 32, THREADS = LANES * GROUPS;

// 1 / sqrt(mean square + eps) of each pixel, for all threads of a block. `sums` are the sums of squares of a thread's
// channels.
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

// x / (1 + exp(-x)).
DEVICE float silu(float x) { return divide_fast(x, 1.0f + exp2_fast(x * -1.44269504f)); }

// `vectors` is the number of vectors in a channel of a frame.
template <typename T, int N>
DEVICE void norm(const T *x, T *out, int channels, int vectors, float eps) {
    using V = Vector<T, N>;
    __shared__ float inverses[LANES * N];
    const int lane = threadIdx.x % LANES, group = threadIdx.x / LANES, at = blockIdx.x * LANES + lane;
    // Lanes past the end have no pixels, but take part in the barriers.
    const int end = at < vectors ? channels : 0;
    const int64_t first = static_cast<int64_t>(blockIdx.y) * channels * vectors + at;
    const V *from = reinterpret_cast<const V *>(x) + first;
    V *to = reinterpret_cast<V *>(out) + first;
    float sums[N] = {};
    for (int c = group; c < end; c += GROUPS) {
        const V vector = from[static_cast<int64_t>(c) * vectors];
        UNROLL for (int j = 0; j < N; j++) sums[j] += to_float(vector.at[j]) * to_float(vector.at[j]);
    }
    inverse_rms<N>(sums, inverses, channels, eps);
    for (int c = group; c < end; c += GROUPS) {
        V vector = from[static_cast<int64_t>(c) * vectors];
        UNROLL for (int j = 0; j < N; j++)
            vector.at[j] = round_to<T>(silu(rounded<T>(mul_rn(to_float(vector.at[j]), inverses[lane * N + j]))));
        to[static_cast<int64_t>(c) * vectors] = vector;
    }
}

}  // namespace pixel_norm

// `x` and `out (frames, channels, pixels)`. The suffix is the number of values per vector, which must divide the
// pixels. Grid: vectors over LANES, rounded up; frames.
#define PIXEL_NORM_SILU(name, T, N)                                                                                    \
    extern "C" __global__ void THREADS_PER_BLOCK(pixel_norm::THREADS)                                                  \
        name(const T *x, T *out, int32_t channels, int32_t vectors, float eps) {                                       \
        pixel_norm::norm<T, N>(x, out, channels, vectors, eps);                                                        \
    }

PIXEL_NORM_SILU(pixel_norm_silu_bf16x8, bf16, 8)
PIXEL_NORM_SILU(pixel_norm_silu_bf16x1, bf16, 1)
PIXEL_NORM_SILU(pixel_norm_silu_f32x4, float, 4)
PIXEL_NORM_SILU(pixel_norm_silu_f32x1, float, 1)
