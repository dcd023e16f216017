// Device functions of the kernels beyond plain C++, one small function per instruction. Without nvcc, emulation.hpp of
// the tests defines the same functions for the host.
#pragma once

#include <stdint.h>

// bfloat16: the upper half of a float32.
struct bf16 {
    uint16_t bits;
};

#ifndef __CUDACC__
#include "emulation.hpp"
#else

#define DEVICE __device__ __forceinline__
#define THREADS_PER_BLOCK(count) __launch_bounds__(count)
// Unrolls a loop of constant length, so that the arrays it indexes stay in registers.
#define UNROLL _Pragma("unroll")
// Keeps a loop with a long body rolled.
#define ROLLED _Pragma("unroll 1")

// Product and sum with a rounding each, never fused.
DEVICE float mul_rn(float a, float b) { return __fmul_rn(a, b); }
DEVICE float add_rn(float a, float b) { return __fadd_rn(a, b); }

// Rounds two floats to nearest even, `low` into the lower half.
DEVICE uint32_t pack_bf16(float low, float high) {
    uint32_t packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}

// 2^x, approximate.
DEVICE float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// a / b to about 2 ulp; 0 if 1 / b underflows.
DEVICE float divide_fast(float a, float b) { return __fdividef(a, b); }

// Value of lane (own lane xor `mask`). All 32 lanes take part.
DEVICE float lane_xor(float value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }

// Start of the block's dynamic shared memory, as an address in the shared space.
DEVICE uint32_t shared_base() {
    extern __shared__ uint4 shared_memory[];
    return static_cast<uint32_t>(__cvta_generic_to_shared(shared_memory));
}

// Starts an asynchronous copy of 16 bytes to shared memory. Writes zeros and does not read `from` if not `valid`.
DEVICE void copy_async(uint32_t to, const bf16 *from, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid ? 16 : 0)
                 : "memory");
}

// Commits the started copies as a group.
DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most the `Pending` newest groups of this thread are in flight.
template <int Pending>
DEVICE void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// Stores 16 bytes to shared memory.
DEVICE void store_shared(uint32_t to, const uint32_t (&values)[4]) {
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(values[0]), "r"(values[1]), "r"(values[2]),
                 "r"(values[3])
                 : "memory");
}

// Stores 4 bytes to shared memory.
DEVICE void store_shared(uint32_t to, uint32_t value) {
    asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(value) : "memory");
}

// Loads 16 bytes from shared memory.
DEVICE void load_shared(uint32_t (&to)[4], uint32_t from) {
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from)
                 : "memory");
}

// Loads four 8x8 matrices of bfloat16. Lane i gives the address of row i % 8 of matrix i / 8. Register j of lane l gets
// the pair at (l / 4, 2 (l % 4)) of matrix j.
DEVICE void load_matrices(uint32_t (&to)[4], uint32_t row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(row)
                 : "memory");
}

// The same with each matrix transposed.
DEVICE void load_matrices_transposed(uint32_t (&to)[4], uint32_t row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(row)
                 : "memory");
}

// accumulator (16x8) += a (16x16) b (16x8), in float32, with the fragment layouts of mma.m16n8k16.
DEVICE void mma(float (&accumulator)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(accumulator[0]), "+f"(accumulator[1]), "+f"(accumulator[2]), "+f"(accumulator[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

DEVICE float bits_to_float(uint32_t bits) { return __uint_as_float(bits); }

#endif

DEVICE float to_float(float x) { return x; }
DEVICE float to_float(bf16 x) { return bits_to_float(static_cast<uint32_t>(x.bits) << 16); }

// Rounds to the type of a tensor.
template <typename T>
DEVICE T round_to(float x);
template <>
DEVICE float round_to<float>(float x) {
    return x;
}
template <>
DEVICE bf16 round_to<bf16>(float x) {
    return bf16{static_cast<uint16_t>(pack_bf16(x, 0.0f))};
}

// Rounds to the type of a tensor and back.
template <typename T>
DEVICE float rounded(float x) {
    return to_float(round_to<T>(x));
}

// `Width` neighbouring values that are read and written with one instruction.
template <typename T, int Width>
struct alignas(sizeof(T) * Width) Vector {
    T at[Width];
};

// product + bias[column], rounded to T, or `product` itself if `bias` is null.
template <typename T, int N>
DEVICE Vector<T, N> with_bias(Vector<T, N> product, const Vector<T, N> *bias, int column) {
    if (bias == nullptr) return product;
    Vector<T, N> added = bias[column];
    UNROLL for (int j = 0; j < N; j++)
        product.at[j] = round_to<T>(add_rn(to_float(product.at[j]), to_float(added.at[j])));
    return product;
}
