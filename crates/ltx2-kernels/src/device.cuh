// What the kernels ask of a card beyond plain C++, each a small function. Where no nvcc compiles this, the tests'
// emulation.hpp gives functions of the same names that do the same on a host.
#pragma once

#include <stdint.h>

// A bfloat16: the upper half of a float32.
struct bf16 {
    uint16_t bits;
};

#ifndef __CUDACC__
#include "emulation.hpp"
#else

#define DEVICE __device__ __forceinline__
#define THREADS_PER_BLOCK(count) __launch_bounds__(count)
// Before a loop of a known count, so that arrays that it indexes stay in registers.
#define UNROLL _Pragma("unroll")
// Before a loop whose body is long.
#define ROLLED _Pragma("unroll 1")

// Products and sums that are rounded each, never fused.
DEVICE float mul_rn(float a, float b) { return __fmul_rn(a, b); }
DEVICE float add_rn(float a, float b) { return __fadd_rn(a, b); }

// Two floats rounded to nearest even, `low` in the lower half.
DEVICE uint32_t pack_bf16(float low, float high) {
    uint32_t packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}

// 2 to the power of x.
DEVICE float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// a / b to about 2 units in the last place; 0 where b is too large for 1 / b.
DEVICE float divide_fast(float a, float b) { return __fdividef(a, b); }

// The value that the lane whose number differs by the bits of `mask` has; all 32 lanes take part.
DEVICE float lane_xor(float value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }

// Where the block's dynamic shared memory begins, as an address of its own space.
DEVICE uint32_t shared_base() {
    extern __shared__ uint4 shared_memory[];
    return static_cast<uint32_t>(__cvta_generic_to_shared(shared_memory));
}

// Begins a copy of 16 bytes to shared memory; zeros where not `valid`, and then `from` is not read.
DEVICE void copy_async(uint32_t to, const bf16 *from, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid ? 16 : 0)
                 : "memory");
}

// Closes a group of copies.
DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits for this thread's groups but the last `Pending`.
template <int Pending>
DEVICE void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// 16 bytes to shared memory.
DEVICE void store_shared(uint32_t to, const uint32_t (&values)[4]) {
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(values[0]), "r"(values[1]), "r"(values[2]),
                 "r"(values[3])
                 : "memory");
}

// 4 bytes to shared memory.
DEVICE void store_shared(uint32_t to, uint32_t value) {
    asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(value) : "memory");
}

// 16 bytes of shared memory.
DEVICE void load_shared(uint32_t (&to)[4], uint32_t from) {
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from)
                 : "memory");
}

// Four 8x8 matrices of bfloat16; lane i has the address of row i % 8 of matrix i / 8. Register j of lane l is the pair
// (l / 4, 2 (l % 4)) of matrix j.
DEVICE void load_matrices(uint32_t (&to)[4], uint32_t row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(row)
                 : "memory");
}

// The same, each matrix transposed.
DEVICE void load_matrices_transposed(uint32_t (&to)[4], uint32_t row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(row)
                 : "memory");
}

// sum (16x8) += a (16x16) b (16x8), in float32, with the layouts of mma.m16n8k16.
DEVICE void multiply_add(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

DEVICE float bits_to_float(uint32_t bits) { return __uint_as_float(bits); }

#endif

DEVICE float to_float(float x) { return x; }
DEVICE float to_float(bf16 x) { return bits_to_float(static_cast<uint32_t>(x.bits) << 16); }

// A float in the type of a tensor.
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

// `x` as it is after being kept in the type of a tensor.
template <typename T>
DEVICE float rounded(float x) {
    return to_float(round_to<T>(x));
}

// `Width` neighbours that are read and written at once.
template <typename T, int Width>
struct alignas(sizeof(T) * Width) Pack {
    T at[Width];
};

// A pack of a linear layer's product, plus what its bias has for that `column`, if there is a bias, and rounded as a sum that
// is kept.
template <typename T, int N>
DEVICE Pack<T, N> with_bias(Pack<T, N> product, const Pack<T, N> *bias, int column) {
    if (bias == nullptr) return product;
    Pack<T, N> added = bias[column];
    UNROLL for (int j = 0; j < N; j++)
        product.at[j] = round_to<T>(add_rn(to_float(product.at[j]), to_float(added.at[j])));
    return product;
}
