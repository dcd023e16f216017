// x + gate · (y + bias), rounded where the plain forms in residual.rs round.
#include "device.cuh"

namespace residual {

// `gate_packs` is the whole of `x` where each row has a gate of its own, or a row, or 0 where nothing is gated.
template <typename T>
DEVICE void add(const T *x, const T *y, const T *bias, const T *gates, T *out, uint32_t packs, uint32_t row_packs,
                uint32_t gate_packs) {
    constexpr int N = 16 / sizeof(T);
    using P = Pack<T, N>;
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= packs) return;
    const uint32_t column = i % row_packs;
    P sum = reinterpret_cast<const P *>(x)[i];
    P added = with_bias(reinterpret_cast<const P *>(y)[i], reinterpret_cast<const P *>(bias), column);
    if (gate_packs > 0) {
        P gate = reinterpret_cast<const P *>(gates)[gate_packs == packs ? i : column];
        UNROLL for (int j = 0; j < N; j++)
            added.at[j] = round_to<T>(mul_rn(to_float(added.at[j]), to_float(gate.at[j])));
    }
    UNROLL for (int j = 0; j < N; j++)
        sum.at[j] = round_to<T>(add_rn(to_float(sum.at[j]), to_float(added.at[j])));
    reinterpret_cast<P *>(out)[i] = sum;
}

}  // namespace residual

// A pack is 16 bytes. `bias` may be null. Grid: packs over threads, rounded up.
#define RESIDUAL(name, T)                                                                                              \
    extern "C" __global__ void name(const T *x, const T *y, const T *bias, const T *gate, T *out, uint32_t packs,      \
                                    uint32_t row_packs, uint32_t gate_packs) {                                         \
        residual::add<T>(x, y, bias, gate, out, packs, row_packs, gate_packs);                                         \
    }

RESIDUAL(residual_bf16, bf16)
RESIDUAL(residual_f32, float)
