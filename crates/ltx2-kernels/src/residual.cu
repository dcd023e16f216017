// x + gate · y, rounded where the plain form in residual.rs rounds.
#include "device.cuh"

namespace residual {

// `gate_packs` is the whole of `x` where each row has a gate of its own, or a row.
template <typename T>
DEVICE void gated(const T *x, const T *y, const T *gates, T *out, uint32_t packs, uint32_t gate_packs) {
    constexpr int N = 16 / sizeof(T);
    using P = Pack<T, N>;
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= packs) return;
    P sum = reinterpret_cast<const P *>(x)[i];
    P added = reinterpret_cast<const P *>(y)[i];
    P gate = reinterpret_cast<const P *>(gates)[i % gate_packs];
    UNROLL for (int j = 0; j < N; j++)
        sum.at[j] = round_to<T>(
            add_rn(to_float(sum.at[j]), rounded<T>(mul_rn(to_float(added.at[j]), to_float(gate.at[j])))));
    reinterpret_cast<P *>(out)[i] = sum;
}

}  // namespace residual

// A pack is 16 bytes. Grid: packs over threads, rounded up.
#define GATED_RESIDUAL(name, T)                                                                                        \
    extern "C" __global__ void name(const T *x, const T *y, const T *gate, T *out, uint32_t packs,                     \
                                    uint32_t gate_packs) {                                                             \
        residual::gated<T>(x, y, gate, out, packs, gate_packs);                                                        \
    }

GATED_RESIDUAL(gated_residual_bf16, bf16)
GATED_RESIDUAL(gated_residual_f32, float)
