// Attention without its score matrix, by online softmax (FlashAttention-2, arXiv 2307.08691), on tensor cores from sm_80
// on: bfloat16 in and out, float32 scores, softmax and sums.
//
// Each of a block's WARPS has 16 * TILES queries; keys and values come, KEYS at a step, by copies into two buffers, one read
// while the other fills. Rows lie in shared memory in pieces of 16 bytes, at their number xor the
// row's, so that eight rows' reads of one column fall into different banks.
#include "attention.cuh"

namespace attention {

// Of a row's pieces the one at `piece`, in bytes from the first row.
template <int D>
DEVICE uint32_t place(int row, int piece) {
    return row * (D * 2) + ((piece ^ (row & 7)) << 4);
}

// Begins to copy rows `first..first + Rows` of a tensor with `rows` of them, with zeros for those past its end.
template <int D, int THREADS, int Rows>
DEVICE void copy_rows(uint32_t to, const bf16 *from, int64_t stride, int first, int rows) {
    constexpr int PIECES = D / 8, AT_ONCE = THREADS / PIECES;
    static_assert(AT_ONCE % 8 == 0 && Rows % AT_ONCE == 0, "a thread's pieces lie at one place of their rows");
    const int row = threadIdx.x / PIECES, piece = threadIdx.x % PIECES;
    to += place<D>(row, piece);
    from += piece * 8;
    UNROLL for (int i = 0; i < Rows; i += AT_ONCE) {
        bool valid = first + row + i < rows;
        copy_async(to + i * D * 2, from + (valid ? first + row + i : 0) * stride, valid);
    }
}

// Of a block: its queries, then twice the keys and the values of a step.
template <int D, int WARPS, int TILES, int KEYS>
constexpr unsigned shared_bytes = (WARPS * TILES * 16 + 4 * KEYS) * D * 2;

template <int D, int TILES, int KEYS>
struct Warp {
    // Of each tile of 16 queries a lane has rows lane / 4 and lane / 4 + 8, of every 8 columns two neighbours.
    float out[TILES][D / 8][4];
    float scores[TILES][KEYS / 8][4];
    float largest[TILES][2];
    float sum[TILES][2];

    DEVICE void begin() {
        UNROLL for (int m = 0; m < TILES; m++) {
            UNROLL for (int n = 0; n < D / 8; n++)
                UNROLL for (int i = 0; i < 4; i++) out[m][n][i] = 0.0f;
            UNROLL for (int half = 0; half < 2; half++) {
                largest[m][half] = -INFINITY;
                sum[m][half] = 0.0f;
            }
        }
    }

    // scores = queries keysᵀ, of this warp's queries. Two pieces further means one bit of the place turned over.
    DEVICE void score(uint32_t queries, uint32_t keys, int lane) {
        const uint32_t q_at = place<D>(lane % 16, lane / 16), k_at = place<D>(lane % 8 + lane / 16 * 8, lane / 8 % 2);
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
                    multiply_add(scores[m][2 * n], q[m], k[0], k[1]);
                    multiply_add(scores[m][2 * n + 1], q[m], k[2], k[3]);
                }
            }
        }
    }

    // Takes keys from number `left` on out of the scores.
    DEVICE void leave_out(int left, int lane) {
        UNROLL for (int n = 0; n < KEYS / 8; n++)
            UNROLL for (int i = 0; i < 4; i++)
                if (n * 8 + lane % 4 * 2 + i % 2 >= left)
                    UNROLL for (int m = 0; m < TILES; m++) scores[m][n][i] = -INFINITY;
    }

    // scores = 2^(scale (scores - largest)), with what was summed before brought to the same largest score.
    DEVICE void soften(float scale) {
        UNROLL for (int m = 0; m < TILES; m++)
            UNROLL for (int half = 0; half < 2; half++) {
                float most = largest[m][half];
                UNROLL for (int n = 0; n < KEYS / 8; n++)
                    most = fmaxf(most, fmaxf(scores[m][n][2 * half], scores[m][n][2 * half + 1]));
                most = row_max(most);
                float shrink = exp2_fast((largest[m][half] - most) * scale), level = most * scale, total = 0.0f;
                largest[m][half] = most;
                UNROLL for (int n = 0; n < KEYS / 8; n++)
                    UNROLL for (int i = 2 * half; i < 2 * half + 2; i++) {
                        scores[m][n][i] = exp2_fast(scores[m][n][i] * scale - level);
                        total += scores[m][n][i];
                    }
                sum[m][half] = sum[m][half] * shrink + total;
                UNROLL for (int n = 0; n < D / 8; n++) {
                    out[m][n][2 * half] *= shrink;
                    out[m][n][2 * half + 1] *= shrink;
                }
            }
    }

    // out += scores values
    DEVICE void gather(uint32_t values, int lane) {
        const uint32_t v_at = place<D>(lane % 16, lane / 16);
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
                    multiply_add(out[m][2 * n], p[m], v[0], v[1]);
                    multiply_add(out[m][2 * n + 1], p[m], v[2], v[3]);
                }
            }
        }
    }

    // Writes rows `first..` of those below `rows`, `stride` elements apart.
    DEVICE void write(bf16 *to, int64_t stride, int first, int rows, int lane) {
        UNROLL for (int m = 0; m < TILES; m++)
            UNROLL for (int half = 0; half < 2; half++) {
                float share = 1.0f / row_sum(sum[m][half]);
                int row = first + m * 16 + half * 8 + lane / 4;
                if (row < rows) {
                    uint32_t *at = reinterpret_cast<uint32_t *>(to + row * stride + lane % 4 * 2);
                    UNROLL for (int n = 0; n < D / 8; n++)
                        at[n * 4] = pack_bf16(out[m][n][2 * half] * share, out[m][n][2 * half + 1] * share);
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
    warp.begin();
    const int steps = (sizes.keys + KEYS - 1) / KEYS;
    for (int step = 0; step < steps; step++) {
        copy_wait<0>();
        // This step has arrived for all, and none still reads the buffer that fills next.
        __syncthreads();
        if (step + 1 < steps) copy_step(step + 1);
        uint32_t at = steps_at + step % 2 * 2 * STEP_BYTES;
        warp.score(queries + first_row * D * 2, at, lane);
        if (sizes.keys - step * KEYS < KEYS) warp.leave_out(sizes.keys - step * KEYS, lane);
        warp.soften(scale);
        warp.gather(at + STEP_BYTES, lane);
    }
    const int64_t row = static_cast<int64_t>(sizes.heads) * D;
    warp.write(out + (static_cast<int64_t>(batch) * sizes.queries * sizes.heads + head) * D, row, first + first_row,
               sizes.queries, lane);
}

}  // namespace attention

// Widths of a head, warps, tiles of 16 queries for each, keys of a step.
ATTENTION(attention_bf16_d64, 4 * 32, 64, 4, 2, 64)
ATTENTION(attention_bf16_d128, 4 * 32, 128, 4, 2, 32)
