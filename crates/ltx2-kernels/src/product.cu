// Reading a linear layer's product once more, rounded where the plain forms in product.rs round.
#include "device.cuh"

namespace product {

// x / 2 · (1 + tanh u), in which nothing cancels where x is far below 0.
DEVICE float gelu(float x) {
    const float u = 0.7978845608f * x * (1.0f + 0.044715f * x * x);
    return divide_fast(x, 1.0f + exp2_fast(-2.885390082f * u));
}

// `work` on each of `packs`, whose rows have `row_packs`, as many as `bias`.
template <typename T, typename Work>
DEVICE void each(const T *y, const T *bias, T *out, uint32_t packs, uint32_t row_packs, Work work) {
    constexpr int N = 16 / sizeof(T);
    using P = Pack<T, N>;
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= packs) return;
    P sum = with_bias(reinterpret_cast<const P *>(y)[i], reinterpret_cast<const P *>(bias), i % row_packs);
    UNROLL for (int j = 0; j < N; j++) sum.at[j] = work(sum.at[j]);
    reinterpret_cast<P *>(out)[i] = sum;
}

}  // namespace product

// A pack is 16 bytes. `bias` may be null. Grid: packs over threads, rounded up.
#define PRODUCT(name, T, work)                                                                                         \
    extern "C" __global__ void name(const T *y, const T *bias, T *out, uint32_t packs, uint32_t row_packs) {           \
        product::each<T>(y, bias, out, packs, row_packs, work);                                                        \
    }

PRODUCT(product_sum_bf16, bf16, [](bf16 x) { return x; })
PRODUCT(product_sum_f32, float, [](float x) { return x; })
PRODUCT(product_gelu_bf16, bf16, [](bf16 x) { return round_to<bf16>(product::gelu(to_float(x))); })
PRODUCT(product_gelu_f32, float, [](float x) { return product::gelu(x); })
