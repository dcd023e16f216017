// Decoding of 8-bit floats (e4m3: sign, 4 bits of exponent, 3 of mantissa), equal to float8.rs.
#include "device.cuh"

namespace float8 {

// Value of a code. Shifted by 20, its bits are those of a float32 whose exponent is 120 too small, subnormals included.
DEVICE float value(uint32_t code) {
    const uint32_t magnitude_bits = code & 0x7f;
    if (magnitude_bits == 0x7f) return bits_to_float(0x7fc00000u);
    const float magnitude = mul_rn(bits_to_float(magnitude_bits << 20), bits_to_float((127u + 120u) << 23));
    return code & 0x80 ? -magnitude : magnitude;
}

// Decodes vectors of 8 codes, then the rest one by one.
template <typename T>
DEVICE void decode(const uint8_t *codes, T *out, uint64_t count, float scale) {
    const uint64_t threads = static_cast<uint64_t>(gridDim.x) * blockDim.x;
    const uint64_t first = static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const uint64_t vectors = count / 8;
    for (uint64_t i = first; i < vectors; i += threads) {
        const Vector<uint8_t, 8> from = reinterpret_cast<const Vector<uint8_t, 8> *>(codes)[i];
        Vector<T, 8> to;
        UNROLL for (int j = 0; j < 8; j++) to.at[j] = round_to<T>(mul_rn(value(from.at[j]), scale));
        reinterpret_cast<Vector<T, 8> *>(out)[i] = to;
    }
    for (uint64_t i = 8 * vectors + first; i < count; i += threads)
        out[i] = round_to<T>(mul_rn(value(codes[i]), scale));
}

}  // namespace float8

// `codes` and `out` are aligned to vectors of 8. Any grid: its threads stride over the codes.
extern "C" __global__ void decode_e4m3_bf16(const uint8_t *codes, bf16 *out, uint64_t count, float scale) {
    float8::decode(codes, out, count, scale);
}

extern "C" __global__ void decode_e4m3_f32(const uint8_t *codes, float *out, uint64_t count, float scale) {
    float8::decode(codes, out, count, scale);
}
