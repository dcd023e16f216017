// Attention by online softmax, without a score matrix in memory (FlashAttention-2, arXiv 2307.08691), on tensor cores
// from sm_80 on: bfloat16 operands and result, float32 scores, softmax and accumulators.
//
// Each of a block's WARPS has 16 * TILES queries. Keys and values are copied KEYS at a step into two buffers, of which
// one is read while the other is filled. Rows are stored in shared memory in chunks of 16 bytes, at (chunk xor row), so
// that the chunks of one column in eight rows are in different banks.
#include "attention/attention.cuh"

namespace attention {

// Offset in bytes of chunk `chunk` of a row.
template <int D>
DEVICE uint32_t swizzled_offset(int row, int chunk) {
    return row * (D * 2) + ((chunk ^ (row & 7)) << 4);
}

// Starts copies of the rows `first..first + Rows` of a tensor of `rows` rows. Rows past its end are filled with zeros.
template <int D, int THREADS, int Rows>
DEVICE void copy_rows(uint32_t to, const bf16 *from, int64_t stride, int first, int rows) {
    constexpr int CHUNKS = D / 8, AT_ONCE = THREADS / CHUNKS;
    static_assert(AT_ONCE % 8 == 0 && Rows % AT_ONCE == 0, "the swizzle is the same in all rows of a thread");
    const int row = threadIdx.x / CHUNKS, chunk = threadIdx.x % CHUNKS;
    to += swizzled_offset<D>(row, chunk);
    from += chunk * 8;
    UNROLL for (int i = 0; i < Rows; i += AT_ONCE) {
        bool valid = first + row + i < rows;
        copy_async(to + i * D * 2, from + (valid ? first + row + i : 0) * stride, valid);
    }
}

// Shared memory of a block: its queries, then two steps of keys and values.
template <int D, int WARPS, int TILES, int KEYS>
constexpr unsigned shared_bytes = (WARPS * TILES * 16 + 4 * KEYS) * D * 2;

// State of a warp. Of each tile of 16 queries a lane holds rows lane / 4 and lane / 4 + 8, two neighbours of every 8
// columns.
template <int D, int TILES, int KEYS>
struct Warp {
    float out[TILES][D / 8][4];
    float scores[TILES][KEYS / 8][4];
    float maximum[TILES][2];
    float denominator[TILES][2];

    DEVICE void init() {
        UNROLL for (int m = 0; m < TILES; m++) {
            UNROLL for (int n = 0; n < D / 8; n++)
                UNROLL for (int i = 0; i < 4; i++) out[m][n][i] = 0.0f;
            UNROLL for (int half = 0; half < 2; half++) {
                maximum[m][half] = -INFINITY;
                denominator[m][half] = 0.0f;
            }
        }
    }

    // scores = queries keysᵀ for this warp's queries. Two chunks further is one flipped bit of the swizzled offset.
    DEVICE void compute_scores(uint32_t queries, uint32_t keys, int lane) {
        const uint32_t q_at = swizzled_offset<D>(lane % 16, lane / 16);
        const uint32_t k_at = swizzled_offset<D>(lane % 8 + lane / 16 * 8, lane / 8 % 2);
        UNROLL for (int m = 0; m < TILES; m++)
            UNROLL for (int n = 0; n < KEYS / 8; n++)
                UNROLL for (int i = 0; i < 4; i++) scores[m][n][i] = 0.0f;
        UNROLL for (int step = 0; step < D / 16; step++) {
            uint32_t q[TILES][4];
            UNROLL for (int m = 0; m < TILES; m++)
                load_matrices(q[m], queries + (q_at ^ step << 5) + m * 16 * D * 2);
            UNROLL for (int n = 0; n < KEYS / 16; n++) {
                uint32_t k[4];
                load_matrices(k, keys + (k_at ^ step << 5) + n * 16 * D * 2);
                UNROLL for (int m = 0; m < TILES; m++) {
                    mma(scores[m][2 * n], q[m], k[0], k[1]);
                    mma(scores[m][2 * n + 1], q[m], k[2], k[3]);
                }
            }
        }
    }

    // Masks the keys from index `count` on.
    DEVICE void mask_keys(int count, int lane) {
        UNROLL for (int n = 0; n < KEYS / 8; n++)
            UNROLL for (int i = 0; i < 4; i++)
                if (n * 8 + lane % 4 * 2 + i % 2 >= count)
                    UNROLL for (int m = 0; m < TILES; m++) scores[m][n][i] = -INFINITY;
    }

    // Softmax step: scores = 2^(scale (scores - maximum)), with earlier accumulators rescaled to the new maximum.
    DEVICE void softmax_step(float scale) {
        UNROLL for (int m = 0; m < TILES; m++)
            UNROLL for (int half = 0; half < 2; half++) {
                float new_maximum = maximum[m][half];
                UNROLL for (int n = 0; n < KEYS / 8; n++)
                    new_maximum = fmaxf(new_maximum, fmaxf(scores[m][n][2 * half], scores[m][n][2 * half + 1]));
                new_maximum = row_max(new_maximum);
                float rescale = exp2_fast((maximum[m][half] - new_maximum) * scale), offset = new_maximum * scale;
                float total = 0.0f;
                maximum[m][half] = new_maximum;
                UNROLL for (int n = 0; n < KEYS / 8; n++)
                    UNROLL for (int i = 2 * half; i < 2 * half + 2; i++) {
                        scores[m][n][i] = exp2_fast(scores[m][n][i] * scale - offset);
                        total += scores[m][n][i];
                    }
                denominator[m][half] = denominator[m][half] * rescale + total;
                UNROLL for (int n = 0; n < D / 8; n++) {
                    out[m][n][2 * half] *= rescale;
                    out[m][n][2 * half + 1] *= rescale;
                }
            }
    }

    // out += scores values.
    DEVICE void accumulate_values(uint32_t values, int lane) {
        const uint32_t v_at = swizzled_offset<D>(lane % 16, lane / 16);
        UNROLL for (int step = 0; step < KEYS / 16; step++) {
            uint32_t p[TILES][4];
            UNROLL for (int m = 0; m < TILES; m++)
                UNROLL for (int j = 0; j < 4; j++) {
                    const float(&pair)[4] = scores[m][2 * step + j / 2];
                    p[m][j] = pack_bf16(pair[j % 2 * 2], pair[j % 2 * 2 + 1]);
                }
            UNROLL for (int n = 0; n < D / 16; n++) {
                uint32_t v[4];
                load_matrices_transposed(v, values + (v_at ^ n << 5) + step * 16 * D * 2);
                UNROLL for (int m = 0; m < TILES; m++) {
                    mma(out[m][2 * n], p[m], v[0], v[1]);
                    mma(out[m][2 * n + 1], p[m], v[2], v[3]);
                }
            }
        }
    }

    // Writes the normalized rows from `first` on that are below `rows`, `stride` elements apart.
    DEVICE void write(bf16 *to, int64_t stride, int first, int rows, int lane) {
        UNROLL for (int m = 0; m < TILES; m++)
            UNROLL for (int half = 0; half < 2; half++) {
                float inverse = 1.0f / row_sum(denominator[m][half]);
                int row = first + m * 16 + half * 8 + lane / 4;
                if (row < rows) {
                    uint32_t *at = reinterpret_cast<uint32_t *>(to + row * stride + lane % 4 * 2);
                    UNROLL for (int n = 0; n < D / 8; n++)
                        at[n * 4] = pack_bf16(out[m][n][2 * half] * inverse, out[m][n][2 * half + 1] * inverse);
                }
            }
    }
};

template <int D, int WARPS, int TILES, int KEYS>
DEVICE void attend(const bf16 *q, const bf16 *k, const bf16 *v, bf16 *out, Strides q_strides, Strides k_strides,
                   Strides v_strides, Sizes sizes, float scale) {
    constexpr int QUERIES = WARPS * TILES * 16, THREADS = WARPS * 32;
    constexpr uint32_t STEP_BYTES = KEYS * D * 2;
    const int lane = threadIdx.x % 32, first_row = threadIdx.x / 32 * TILES * 16, first = blockIdx.x * QUERIES;
    const int head = blockIdx.y % sizes.heads, batch = blockIdx.y / sizes.heads;
    const uint32_t queries = shared_base(), steps_at = queries + QUERIES * D * 2;
    k += batch * k_strides.batch + head * k_strides.head;
    v += batch * v_strides.batch + head * v_strides.head;
    auto copy_step = [&](int step) {
        uint32_t at = steps_at + step % 2 * 2 * STEP_BYTES;
        copy_rows<D, THREADS, KEYS>(at, k, k_strides.token, step * KEYS, sizes.keys);
        copy_rows<D, THREADS, KEYS>(at + STEP_BYTES, v, v_strides.token, step * KEYS, sizes.keys);
        copy_commit();
    };
    copy_rows<D, THREADS, QUERIES>(queries, q + batch * q_strides.batch + head * q_strides.head, q_strides.token, first,
                                   sizes.queries);
    copy_step(0);

    Warp<D, TILES, KEYS> warp;
    warp.init();
    const int steps = (sizes.keys + KEYS - 1) / KEYS;
    for (int step = 0; step < steps; step++) {
        copy_wait<0>();
        // The step has arrived for all threads, and no thread reads the buffer that is filled next.
        __syncthreads();
        if (step + 1 < steps) copy_step(step + 1);
        uint32_t at = steps_at + step % 2 * 2 * STEP_BYTES;
        warp.compute_scores(queries + first_row * D * 2, at, lane);
        if (sizes.keys - step * KEYS < KEYS) warp.mask_keys(sizes.keys - step * KEYS, lane);
        warp.softmax_step(scale);
        warp.accumulate_values(at + STEP_BYTES, lane);
    }
    const int64_t row = static_cast<int64_t>(sizes.heads) * D;
    warp.write(out + (static_cast<int64_t>(batch) * sizes.queries * sizes.heads + head) * D, row, first + first_row,
               sizes.queries, lane);
}

}  // namespace attention

// Head width, warps, tiles of 16 queries per warp, keys per step.
ATTENTION(attention_bf16_d64, 4 * 32, 64, 4, 2, 64)
ATTENTION(attention_bf16_d128, 4 * 32, 128, 4, 2, 32)
