// Attention of attention.cu with Hopper's asynchronous matrix products (FlashAttention-3, arXiv 2407.08608).
//
// A block has GROUPS warpgroups with 64 queries each. Keys and values are copied KEYS at a step into STAGES buffers
// each. Keys are one step ahead: the scores of the next step start together with the product of this step's
// probabilities and values, which runs during the softmax of the next step.
#include "attention/attention.cuh"
#include "attention/warpgroup.cuh"

namespace attention {

// Starts copies of the rows `first..first + Rows` of a tensor of `rows` rows, with a panel for every 64 columns. Rows
// past its end are filled with zeros.
template <int D, int THREADS, int Rows>
DEVICE void copy_panels(uint32_t to, const bf16 *from, int64_t stride, int first, int rows) {
    constexpr int CHUNKS = D / 8, AT_ONCE = THREADS / CHUNKS;
    static_assert(AT_ONCE % 8 == 0 && Rows % 8 == 0, "the swizzle is the same in all rows of a thread");
    const int row = threadIdx.x / CHUNKS, chunk = threadIdx.x % CHUNKS;
    to += chunk / 8 * Rows * 128 + swizzled_offset(row, chunk % 8);
    from += chunk * 8;
    UNROLL for (int i = 0; i < Rows; i += AT_ONCE) {
        const bool valid = first + row + i < rows;
        // In the last round only the first threads have a row.
        if (i + AT_ONCE <= Rows || row + i < Rows)
            copy_async(to + i * 128, from + (valid ? first + row + i : 0) * stride, valid);
    }
}

// Shared memory of a block: its queries, then the keys of all stages, then their values.
template <int D, int GROUPS, int KEYS, int STAGES>
struct Layout {
    static constexpr int QUERIES = 64 * GROUPS, THREADS = 128 * GROUPS;
    static constexpr uint32_t STEP_BYTES = KEYS * D * 2;
    uint32_t queries;

    DEVICE uint32_t keys(int step) const { return queries + QUERIES * D * 2 + step % STAGES * STEP_BYTES; }
    DEVICE uint32_t values(int step) const { return keys(step) + STAGES * STEP_BYTES; }
};

// State of a warpgroup with 64 queries. A lane holds two rows of `out` and `scores`, in the layout of `start_product`.
template <int D, int KEYS>
struct Group {
    float out[D / 2];
    float scores[KEYS / 2];
    // Scores after the softmax in bfloat16, one fragment per 16 keys.
    uint32_t probabilities[KEYS / 16][4];
    float maximum[2], rescale[2], denominator[2];

    DEVICE void init() {
        UNROLL for (int i = 0; i < D / 2; i++) out[i] = 0.0f;
        UNROLL for (int half = 0; half < 2; half++) {
            maximum[half] = -INFINITY;
            denominator[half] = 0.0f;
        }
    }

    // Starts scores = queries keysᵀ. 16 columns are 32 bytes of a panel.
    DEVICE void start_scores(uint32_t queries, uint32_t query_panel, uint32_t keys) {
        const Matrix q = matrix(queries, 0), k = matrix(keys, 0);
        UNROLL for (int step = 0; step < D / 16; step++) {
            const uint32_t panel = step / 4, column = step % 4 * 32;
            start_product(scores, q.at(panel * query_panel + column), k.at(panel * KEYS * 128 + column), step > 0);
        }
        wgmma_commit();
    }

    // Starts out += probabilities values.
    DEVICE void start_values(uint32_t values) {
        const Matrix v = matrix(values, KEYS * 128);
        UNROLL for (int step = 0; step < KEYS / 16; step++)
            start_product_add(out, probabilities[step], v.at(step * 16 * 128));
        wgmma_commit();
    }

    // Finishes all accesses to the products' registers before products start.
    DEVICE void prepare() {
        pin_registers(out);
        pin_registers(scores);
        pin_registers(probabilities);
        wgmma_fence();
    }

    // Waits until at most `Later` newer groups of products are in flight, then masks the keys from index `count` on.
    template <int Later>
    DEVICE void await_scores(int count) {
        wgmma_wait<Later>();
        pin_registers(scores);
        if (count >= KEYS) return;
        const int column = threadIdx.x % 4 * 2;
        UNROLL for (int i = 0; i < KEYS / 2; i++)
            if (i / 4 * 8 + column + i % 2 >= count) scores[i] = -INFINITY;
    }

    // Softmax step: scores = 2^(scale (scores - maximum)). `rescale` is the factor of earlier accumulators for the new
    // maximum.
    DEVICE void softmax_step(float scale) {
        UNROLL for (int half = 0; half < 2; half++) {
            float new_maximum = maximum[half];
            UNROLL for (int i = 2 * half; i < KEYS / 2; i += 4)
                new_maximum = fmaxf(new_maximum, fmaxf(scores[i], scores[i + 1]));
            new_maximum = row_max(new_maximum);
            rescale[half] = exp2_fast((maximum[half] - new_maximum) * scale);
            maximum[half] = new_maximum;
            float offset = new_maximum * scale, total = 0.0f;
            UNROLL for (int i = 2 * half; i < KEYS / 2; i += 4)
                UNROLL for (int j = i; j < i + 2; j++) {
                    scores[j] = exp2_fast(scores[j] * scale - offset);
                    total += scores[j];
                }
            denominator[half] = denominator[half] * rescale[half] + total;
        }
    }

    // Waits for all products.
    DEVICE void await_values() {
        wgmma_wait<0>();
        pin_registers(out);
        pin_registers(probabilities);
    }

    // Applies `rescale` to `out` and converts the scores to probabilities for the next product.
    DEVICE void rescale_and_convert() {
        UNROLL for (int i = 0; i < D / 2; i++) out[i] *= rescale[i / 2 % 2];
        UNROLL for (int i = 0; i < KEYS / 4; i++)
            probabilities[i / 4][i % 4] = pack_bf16(scores[2 * i], scores[2 * i + 1]);
    }

    // Writes the normalized rows from `first` on that are below `rows`, `stride` elements apart.
    DEVICE void write(bf16 *to, int64_t stride, int first, int rows) {
        const int lane = threadIdx.x % 32;
        UNROLL for (int half = 0; half < 2; half++) {
            float inverse = 1.0f / row_sum(denominator[half]);
            int row = first + threadIdx.x / 32 % 4 * 16 + half * 8 + lane / 4;
            if (row < rows) {
                uint32_t *at = reinterpret_cast<uint32_t *>(to + row * stride + lane % 4 * 2);
                UNROLL for (int i = 2 * half; i < D / 2; i += 4)
                    at[i / 4 * 4] = pack_bf16(out[i] * inverse, out[i + 1] * inverse);
            }
        }
    }
};

// Waits until at most the `Later` newest groups of copies are in flight and all threads have finished earlier reads.
template <int Later>
DEVICE void await_copies() {
    copy_wait<Later>();
    fence_shared();
    __syncthreads();
}

template <int D, int GROUPS, int KEYS, int STAGES>
DEVICE void attend(const bf16 *q, const bf16 *k, const bf16 *v, bf16 *out, Strides q_strides, Strides k_strides,
                   Strides v_strides, Sizes sizes, float scale) {
    using Shared = Layout<D, GROUPS, KEYS, STAGES>;
    constexpr int QUERIES = Shared::QUERIES, THREADS = Shared::THREADS;
    static_assert(STAGES >= 2, "the keys of a step are read together with the values of the previous one");
    const int first = blockIdx.x * QUERIES, first_row = threadIdx.x / 128 * 64;
    const int head = blockIdx.y % sizes.heads, batch = blockIdx.y / sizes.heads;
    const int steps = (sizes.keys + KEYS - 1) / KEYS;
    const Shared shared = {align_matrix(shared_base())};
    k += batch * k_strides.batch + head * k_strides.head;
    v += batch * v_strides.batch + head * v_strides.head;
    // Every step commits one group, even past the last step, as waiting counts groups.
    auto copy_step = [&](int step) {
        if (step < steps)
            copy_panels<D, THREADS, KEYS>(shared.keys(step), k, k_strides.token, step * KEYS, sizes.keys);
        if (step > 0 && step <= steps)
            copy_panels<D, THREADS, KEYS>(shared.values(step - 1), v, v_strides.token, (step - 1) * KEYS, sizes.keys);
        copy_commit();
    };
    q += batch * q_strides.batch + head * q_strides.head;
    copy_panels<D, THREADS, QUERIES>(shared.queries, q, q_strides.token, first, sizes.queries);
    UNROLL for (int step = 0; step < STAGES; step++) copy_step(step);

    Group<D, KEYS> group;
    auto start_scores = [&](int step) {
        group.prepare();
        group.start_scores(shared.queries + first_row * 128, QUERIES * 128, shared.keys(step));
    };
    group.init();
    await_copies<STAGES - 1>();
    start_scores(0);
    group.template await_scores<0>(sizes.keys);
    group.softmax_step(scale);
    for (int step = 0; step + 1 < steps; step++) {
        // Stays here and not after the softmax, in front of which the compiler would move it.
        group.await_values();
        group.rescale_and_convert();
        await_copies<STAGES - 2>();
        start_scores(step + 1);
        group.start_values(shared.values(step));
        copy_step(step + STAGES);
        group.template await_scores<1>(sizes.keys - (step + 1) * KEYS);
        group.softmax_step(scale);
    }
    group.await_values();
    group.rescale_and_convert();
    await_copies<STAGES - 2>();
    group.prepare();
    group.start_values(shared.values(steps - 1));
    group.await_values();
    const int64_t row = static_cast<int64_t>(sizes.heads) * D;
    group.write(out + (static_cast<int64_t>(batch) * sizes.queries * sizes.heads + head) * D, row, first + first_row,
                sizes.queries);
}

}  // namespace attention

// Head width, warpgroups with 64 queries each, keys per step, stages.
ATTENTION(attention_sm90_bf16_d64, 3 * 128, 64, 3, 128, 3)
ATTENTION(attention_sm90_bf16_d128, 2 * 128, 128, 2, 128, 3)
