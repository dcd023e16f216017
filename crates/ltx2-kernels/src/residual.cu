// x + gate · (y + bias), rounded where residual.rs rounds.
#include "device.cuh"

namespace residual {

// `gate_vectors` is `vectors` if every row has its own gate, `row_vectors` if all rows share one, or 0 without a gate.
template <typename T>
DEVICE void add(const T *x, const T *y, const T *bias, const T *gates, T *out, uint32_t vectors, uint32_t row_vectors,
                uint32_t gate_vectors) {
    constexpr int N = 16 / sizeof(T);
    using V = Vector<T, N>;
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= vectors) return;
    const uint32_t column = i % row_vectors;
    V sum = reinterpret_cast<const V *>(x)[i];
    V added = with_bias(reinterpret_cast<const V *>(y)[i], reinterpret_cast<const V *>(bias), column);
    if (gate_vectors > 0) {
        V gate = reinterpret_cast<const V *>(gates)[gate_vectors == vectors ? i : column];
        UNROLL for (int j = 0; j < N; j++)
            added.at[j] = round_to<T>(mul_rn(to_float(added.at[j]), to_float(gate.at[j])));
    }
    UNROLL for (int j = 0; j < N; j++)
        sum.at[j] = round_to<T>(add_rn(to_float(sum.at[j]), to_float(added.at[j])));
    reinterpret_cast<V *>(out)[i] = sum;
}

}  // namespace residual

// Vectors have 16 bytes. `bias` may be null, and `gate` if `gate_vectors` is 0. Grid: vectors over threads, rounded up.
#define RESIDUAL(name, T)                                                                                              \
    extern "C" __global__ void name(const T *x, const T *y, const T *bias, const T *gate, T *out, uint32_t vectors,    \
                                    uint32_t row_vectors, uint32_t gate_vectors) {                                     \
        residual::add<T>(x, y, bias, gate, out, vectors, row_vectors, gate_vectors);                                   \
    }

RESIDUAL(residual_bf16, bf16)
RESIDUAL(residual_f32, float)
