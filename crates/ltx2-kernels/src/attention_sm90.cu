// The attention of attention.cu on Hopper's tensor cores, which multiply matrices in shared memory while the warps that asked
// for it go on (FlashAttention-3, arXiv 2407.08608).
//
// A block is GROUPS warpgroups with 64 queries each. Keys and values come, KEYS at a step, by copies into STAGES buffers
// each. Keys run a step ahead: the scores of the next step are begun together with the sums of this one's values, which go on
// while the softmax of the next step is computed.
#include "attention.cuh"
#include "warpgroup.cuh"

namespace attention {

// Begins to copy rows `first..first + Rows` of a tensor with `rows` of them, with zeros for those past its end, each 64
// columns into a panel of their own.
template <int D, int THREADS, int Rows>
DEVICE void copy_panels(uint32_t to, const bf16 *from, int64_t stride, int first, int rows) {
    constexpr int PIECES = D / 8, AT_ONCE = THREADS / PIECES;
    static_assert(AT_ONCE % 8 == 0 && Rows % 8 == 0, "a thread's pieces lie at one place of their rows");
    const int row = threadIdx.x / PIECES, piece = threadIdx.x % PIECES;
    to += piece / 8 * Rows * 128 + swizzled_piece(row, piece % 8);
    from += piece * 8;
    UNROLL for (int i = 0; i < Rows; i += AT_ONCE) {
        const bool valid = first + row + i < rows;
        // Of the last round only the first threads have a row.
        if (i + AT_ONCE <= Rows || row + i < Rows)
            copy_async(to + i * 128, from + (valid ? first + row + i : 0) * stride, valid);
    }
}

// A block's shared memory: its queries, then the stages' keys, then their values.
template <int D, int GROUPS, int KEYS, int STAGES>
struct Layout {
    static constexpr int QUERIES = 64 * GROUPS, THREADS = 128 * GROUPS;
    static constexpr uint32_t STEP_BYTES = KEYS * D * 2;
    uint32_t queries;

    DEVICE uint32_t keys(int step) const { return queries + QUERIES * D * 2 + step % STAGES * STEP_BYTES; }
    DEVICE uint32_t values(int step) const { return keys(step) + STAGES * STEP_BYTES; }
};

// A warpgroup's 64 queries. Of the scores and sums a lane has two rows, laid out as `begin_product` says.
template <int D, int KEYS>
struct Group {
    float out[D / 2];
    float scores[KEYS / 2];
    // The scores after the softmax, in bfloat16: of each 16 keys a matrix in registers.
    uint32_t shares[KEYS / 16][4];
    float largest[2], shrink[2], sum[2];

    DEVICE void begin() {
        UNROLL for (int i = 0; i < D / 2; i++) out[i] = 0.0f;
        UNROLL for (int half = 0; half < 2; half++) {
            largest[half] = -INFINITY;
            sum[half] = 0.0f;
        }
    }

    // Begins scores = queries keysᵀ. 16 columns are 32 bytes of a panel.
    DEVICE void begin_scores(uint32_t queries, uint32_t query_panel, uint32_t keys) {
        const Matrix q = matrix(queries, 0), k = matrix(keys, 0);
        UNROLL for (int step = 0; step < D / 16; step++) {
            const uint32_t panel = step / 4, column = step % 4 * 32;
            begin_product(scores, q.at(panel * query_panel + column), k.at(panel * KEYS * 128 + column), step > 0);
        }
        products_commit();
    }

    // Begins out += shares values.
    DEVICE void begin_sums(uint32_t values) {
        const Matrix v = matrix(values, KEYS * 128);
        UNROLL for (int step = 0; step < KEYS / 16; step++) begin_product_add(out, shares[step], v.at(step * 16 * 128));
        products_commit();
    }

    // Before products are begun: all that was done with their registers is done.
    DEVICE void prepare() {
        hold(out);
        hold(scores);
        hold(shares);
        products_begin();
    }

    // Until the scores are there, which but `Later` groups of products were begun after; keys from number `left` on are taken
    // out of them.
    template <int Later>
    DEVICE void await_scores(int left) {
        products_wait<Later>();
        hold(scores);
        if (left >= KEYS) return;
        const int column = threadIdx.x % 4 * 2;
        UNROLL for (int i = 0; i < KEYS / 2; i++)
            if (i / 4 * 8 + column + i % 2 >= left) scores[i] = -INFINITY;
    }

    // scores = 2^(scale (scores - largest)); `shrink` is what brings earlier sums to the same largest score.
    DEVICE void soften(float scale) {
        UNROLL for (int half = 0; half < 2; half++) {
            float most = largest[half];
            UNROLL for (int i = 2 * half; i < KEYS / 2; i += 4) most = fmaxf(most, fmaxf(scores[i], scores[i + 1]));
            most = row_max(most);
            shrink[half] = exp2_fast((largest[half] - most) * scale);
            largest[half] = most;
            float level = most * scale, total = 0.0f;
            UNROLL for (int i = 2 * half; i < KEYS / 2; i += 4)
                UNROLL for (int j = i; j < i + 2; j++) {
                    scores[j] = exp2_fast(scores[j] * scale - level);
                    total += scores[j];
                }
            sum[half] = sum[half] * shrink[half] + total;
        }
    }

    // Until all products are done.
    DEVICE void await_sums() {
        products_wait<0>();
        hold(out);
        hold(shares);
    }

    // Makes what `soften` left ready for the next sums.
    DEVICE void take_up() {
        UNROLL for (int i = 0; i < D / 2; i++) out[i] *= shrink[i / 2 % 2];
        UNROLL for (int i = 0; i < KEYS / 4; i++) shares[i / 4][i % 4] = pack_bf16(scores[2 * i], scores[2 * i + 1]);
    }

    // Writes rows `first..` of those below `rows`, `stride` elements apart.
    DEVICE void write(bf16 *to, int64_t stride, int first, int rows) {
        const int lane = threadIdx.x % 32;
        UNROLL for (int half = 0; half < 2; half++) {
            float share = 1.0f / row_sum(sum[half]);
            int row = first + threadIdx.x / 32 % 4 * 16 + half * 8 + lane / 4;
            if (row < rows) {
                uint32_t *at = reinterpret_cast<uint32_t *>(to + row * stride + lane % 4 * 2);
                UNROLL for (int i = 2 * half; i < D / 2; i += 4)
                    at[i / 4 * 4] = pack_bf16(out[i] * share, out[i + 1] * share);
            }
        }
    }
};

// Until but the last `Later` groups of copies have arrived for all; none reads any longer what was read before.
template <int Later>
DEVICE void arrive() {
    copy_wait<Later>();
    publish_shared();
    __syncthreads();
}

template <int D, int GROUPS, int KEYS, int STAGES>
DEVICE void attend(const bf16 *q, const bf16 *k, const bf16 *v, bf16 *out, Strides q_strides, Strides k_strides,
                   Strides v_strides, Sizes sizes, float scale) {
    using Shared = Layout<D, GROUPS, KEYS, STAGES>;
    constexpr int QUERIES = Shared::QUERIES, THREADS = Shared::THREADS;
    static_assert(STAGES >= 2, "a step's keys are read beside the values of the one before");
    const int first = blockIdx.x * QUERIES, first_row = threadIdx.x / 128 * 64;
    const int head = blockIdx.y % sizes.heads, batch = blockIdx.y / sizes.heads;
    const int steps = (sizes.keys + KEYS - 1) / KEYS;
    const Shared shared = {align_matrix(shared_base())};
    k += batch * k_strides.batch + head * k_strides.head;
    v += batch * v_strides.batch + head * v_strides.head;
    // Every step's copies are a group, even past the last: groups are waited for by their number.
    auto copy_step = [&](int step) {
        if (step < steps)
            copy_panels<D, THREADS, KEYS>(shared.keys(step), k, k_strides.token, step * KEYS, sizes.keys);
        if (step > 0 && step <= steps)
            copy_panels<D, THREADS, KEYS>(shared.values(step - 1), v, v_strides.token, (step - 1) * KEYS, sizes.keys);
        copy_commit();
    };
    copy_panels<D, THREADS, QUERIES>(shared.queries, q + batch * q_strides.batch + head * q_strides.head, q_strides.token,
                                     first, sizes.queries);
    UNROLL for (int step = 0; step < STAGES; step++) copy_step(step);

    Group<D, KEYS> group;
    auto begin_scores = [&](int step) {
        group.prepare();
        group.begin_scores(shared.queries + first_row * 128, QUERIES * 128, shared.keys(step));
    };
    group.begin();
    arrive<STAGES - 1>();
    begin_scores(0);
    group.template await_scores<0>(sizes.keys);
    group.soften(scale);
    for (int step = 0; step + 1 < steps; step++) {
        // Here, where the compiler cannot move it, and not behind the softmax, which it would put it in front of.
        group.await_sums();
        group.take_up();
        arrive<STAGES - 2>();
        begin_scores(step + 1);
        group.begin_sums(shared.values(step));
        copy_step(step + STAGES);
        group.template await_scores<1>(sizes.keys - (step + 1) * KEYS);
        group.soften(scale);
    }
    group.await_sums();
    group.take_up();
    arrive<STAGES - 2>();
    group.prepare();
    group.begin_sums(shared.values(steps - 1));
    group.await_sums();
    const int64_t row = static_cast<int64_t>(sizes.heads) * D;
    group.write(out + (static_cast<int64_t>(batch) * sizes.queries * sizes.heads + head) * D, row, first + first_row,
                sizes.queries);
}

}  // namespace attention

// Widths of a head, warpgroups with 64 queries each, keys of a step, stages.
ATTENTION(attention_sm90_bf16_d64, 3 * 128, 64, 3, 128, 3)
ATTENTION(attention_sm90_bf16_d128, 2 * 128, 128, 2, 128, 3)
