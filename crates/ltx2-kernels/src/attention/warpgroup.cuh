// Asynchronous matrix products of warpgroups (wgmma), which exist on Hopper (sm_90a) alone. Each function is one PTX
// instruction that the four consecutive warps of a warpgroup execute together. There is no host version.
//
// Matrices are stored in shared memory in rows of 128 bytes, swizzled as in `swizzled_offset`, from a multiple of 1024
// bytes on.
#pragma once

#include "device.cuh"

// Offset in bytes of 16-byte chunk `chunk` (of eight) of a row, in the hardware's 128-byte swizzle: the chunks of one
// column in eight rows are in different banks.
DEVICE uint32_t swizzled_offset(int row, int chunk) { return row * 128 + ((chunk ^ (row & 7)) << 4); }

// Rounds up to the next valid start address of a matrix.
DEVICE uint32_t align_matrix(uint32_t address) { return (address + 1023) & ~1023u; }

// Descriptor of a matrix in shared memory.
struct Matrix {
    uint64_t descriptor;

    // The same matrix, `bytes` further.
    DEVICE Matrix at(uint32_t bytes) const { return {descriptor + (bytes >> 4)}; }
};

// Matrix whose rows start at `address`. `panel_bytes` is the distance between panels of 64 columns; it matters only if
// the rows are along the summed dimension, as other products read no more than one panel.
DEVICE Matrix matrix(uint32_t address, uint32_t panel_bytes) {
    constexpr uint64_t SWIZZLE_128 = 1ull << 62, EIGHT_ROWS = 1024 >> 4;
    return {SWIZZLE_128 | EIGHT_ROWS << 32 | static_cast<uint64_t>(panel_bytes >> 4) << 16 | (address & 0x3ffff) >> 4};
}

// Makes this thread's writes to shared memory visible to wgmma. A barrier must follow.
DEVICE void fence_shared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Orders register writes before the products that follow.
DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// Commits the started products as a group.
DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits until at most the `Pending` newest groups of this warpgroup are in flight.
template <int Pending>
DEVICE void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}

// Compiler barrier for registers of asynchronous products: the compiler does not know that they are read and written
// after the instruction.
template <int N>
DEVICE void pin_registers(float (&registers)[N]) {
    UNROLL for (int i = 0; i < N; i++) asm volatile("" : "+f"(registers[i])::"memory");
}

template <int M, int N>
DEVICE void pin_registers(uint32_t (&registers)[M][N]) {
    UNROLL for (int m = 0; m < M; m++)
        UNROLL for (int n = 0; n < N; n++) asm volatile("" : "+r"(registers[m][n])::"memory");
}

#define FLOATS_8(d, i)                                                                                                 \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]),        \
        "+f"(d[i + 7])
#define FLOATS_32(d, i) FLOATS_8(d, i), FLOATS_8(d, i + 8), FLOATS_8(d, i + 16), FLOATS_8(d, i + 24)
#define OPERANDS_32                                                                                                    \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                           \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define OPERANDS_64                                                                                                    \
    OPERANDS_32                                                                                                        \
    ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                               \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

// Starts accumulator (64x128) = a (64x16) bᵀ (16x128), or += if `accumulate`. The rows of a and b are not the summed
// dimension. Lane l of warp w holds rows 16 w + l / 4 and 16 w + l / 4 + 8 of the accumulator, the pair 2 (l % 4) of
// every 8 columns: first the pair of the upper row, then that of the lower one.
DEVICE void start_product(float (&accumulator)[64], Matrix a, Matrix b, bool accumulate) {
    asm volatile("{\n.reg .pred adds;\nsetp.ne.b32 adds, %66, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" OPERANDS_64 "}, %64, %65, adds, 1, 1, 0, 0;\n}\n"
                 : FLOATS_32(accumulator, 0), FLOATS_32(accumulator, 32)
                 : "l"(a.descriptor), "l"(b.descriptor), "r"(static_cast<int>(accumulate)));
}

// Starts accumulator (64x128) += a (64x16) b (16x128). Each warp holds 16 rows of a in registers as for mma.m16n8k16;
// the rows of b are the summed dimension.
DEVICE void start_product_add(float (&accumulator)[64], const uint32_t (&a)[4], Matrix b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" OPERANDS_64
                 "}, {%64, %65, %66, %67}, %68, 1, 1, 1, 1;"
                 : FLOATS_32(accumulator, 0), FLOATS_32(accumulator, 32)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.descriptor));
}

// The same with 64 columns.
DEVICE void start_product_add(float (&accumulator)[32], const uint32_t (&a)[4], Matrix b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" OPERANDS_32
                 "}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1;"
                 : FLOATS_32(accumulator, 0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.descriptor));
}

#undef FLOATS_8
#undef FLOATS_32
#undef OPERANDS_32
#undef OPERANDS_64
