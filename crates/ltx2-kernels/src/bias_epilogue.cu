// Elementwise epilogues of a linear layer: bias add, or bias add and GELU, rounded where bias_epilogue.rs rounds.
#include "device.cuh"

namespace bias_epilogue {

// x / 2 · (1 + tanh u), written without cancellation for large negative x.
DEVICE float gelu(float x) {
    const float u = 0.7978845608f * x * (1.0f + 0.044715f * x * x);
    return divide_fast(x, 1.0f + exp2_fast(-2.885390082f * u));
}

// Applies `epilogue` to each value of y + bias.
template <typename T, typename Epilogue>
DEVICE void apply(const T *y, const T *bias, T *out, uint32_t vectors, uint32_t row_vectors, Epilogue epilogue) {
    constexpr int N = 16 / sizeof(T);
    using V = Vector<T, N>;
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= vectors) return;
    V sum = with_bias(reinterpret_cast<const V *>(y)[i], reinterpret_cast<const V *>(bias), i % row_vectors);
    UNROLL for (int j = 0; j < N; j++) sum.at[j] = epilogue(sum.at[j]);
    reinterpret_cast<V *>(out)[i] = sum;
}

}  // namespace bias_epilogue

// Vectors have 16 bytes. `bias` has `row_vectors` vectors or is null. Grid: vectors over threads, rounded up.
#define BIAS_EPILOGUE(name, T, epilogue)                                                                               \
    extern "C" __global__ void name(const T *y, const T *bias, T *out, uint32_t vectors, uint32_t row_vectors) {       \
        bias_epilogue::apply<T>(y, bias, out, vectors, row_vectors, epilogue);                                         \
    }

BIAS_EPILOGUE(bias_sum_bf16, bf16, [](bf16 x) { return x; })
BIAS_EPILOGUE(bias_sum_f32, float, [](float x) { return x; })
BIAS_EPILOGUE(bias_gelu_bf16, bf16, [](bf16 x) { return round_to<bf16>(bias_epilogue::gelu(to_float(x))); })
BIAS_EPILOGUE(bias_gelu_f32, float, [](float x) { return bias_epilogue::gelu(x); })
