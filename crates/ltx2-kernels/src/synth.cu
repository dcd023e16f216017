// Synthetic values, bit-identical to synth.rs.
#include "device.cuh"

constexpr uint64_t GOLDEN = 0x9E3779B97F4A7C15ull;

DEVICE uint64_t splitmix64(uint64_t x) {
    x ^= x >> 30;
    x *= 0xBF58476D1CE4E5B9ull;
    x ^= x >> 27;
    x *= 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

// Any grid: its threads stride over the values.
extern "C" __global__ void synth_bf16(bf16 *out, uint64_t count, uint64_t hash, float center, float amplitude) {
    uint64_t threads = static_cast<uint64_t>(gridDim.x) * blockDim.x;
    for (uint64_t i = static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += threads) {
        uint64_t z = splitmix64(hash + i * GOLDEN);
        // Both steps are exact, fused or not: a 24-bit integer over a power of two.
        double fraction = static_cast<double>(z >> 40) / 16777216.0;
        float unit = static_cast<float>(2.0 * fraction - 1.0);
        out[i] = round_to<bf16>(add_rn(center, mul_rn(amplitude, unit)));
    }
}
