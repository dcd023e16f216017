// What only Hopper (sm_90a) has: products of matrices by four warps at once, which go on while the warps do other things.
// Each PTX instruction is a small function; four consecutive warps, a warpgroup, call it together. There is no form for a host.
//
// Matrices lie in shared memory in rows of 128 bytes, as `swizzled_piece` says, from a multiple of 1024 bytes on.
#pragma once

#include "device.cuh"

// Of a row's eight pieces of 16 bytes the one at `piece`, in bytes from the first row: where the hardware's 128-byte swizzle
// has it, so that eight rows' pieces of one column fall into different banks.
DEVICE uint32_t swizzled_piece(int row, int piece) { return row * 128 + ((piece ^ (row & 7)) << 4); }

// The next address where a matrix may begin.
DEVICE uint32_t align_matrix(uint32_t address) { return (address + 1023) & ~1023u; }

// Where a matrix in shared memory is, as the hardware wants to be told.
struct Matrix {
    uint64_t descriptor;

    // The matrix that begins `bytes` later.
    DEVICE Matrix at(uint32_t bytes) const { return {descriptor + (bytes >> 4)}; }
};

// A matrix whose rows begin at `address`. `panel_bytes` is how far apart the parts of 64 columns are that one product takes
// of a matrix with its rows along the sum; of others it takes no more than a row, and the distance does not count.
DEVICE Matrix matrix(uint32_t address, uint32_t panel_bytes) {
    constexpr uint64_t SWIZZLE_128 = 1ull << 62, EIGHT_ROWS = 1024 >> 4;
    return {SWIZZLE_128 | EIGHT_ROWS << 32 | static_cast<uint64_t>(panel_bytes >> 4) << 16 | (address & 0x3ffff) >> 4};
}

// Lets products see what this thread has written to shared memory; a barrier has to follow.
DEVICE void publish_shared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Before products, so that they find their registers as they were last written.
DEVICE void products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// Closes a group of products.
DEVICE void products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits for this warpgroup's groups of products but the last `Pending`.
template <int Pending>
DEVICE void products_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}

// Keeps the compiler from moving what it does with registers of products across this place: it does not know that they are
// still read and written after the instruction.
template <int N>
DEVICE void hold(float (&registers)[N]) {
    UNROLL for (int i = 0; i < N; i++) asm volatile("" : "+f"(registers[i])::"memory");
}

template <int M, int N>
DEVICE void hold(uint32_t (&registers)[M][N]) {
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

// Begins sum (64x128) = a (64x16) bᵀ (16x128), plus what it was where it `adds`; a and b have their rows across the sum. Of
// the sum, warp w's lane l has rows 16 w + l / 4 and 8 below it, of every 8 columns the pair 2 (l % 4): first the upper
// row's, then the lower one's.
DEVICE void begin_product(float (&sum)[64], Matrix a, Matrix b, bool adds) {
    asm volatile("{\n.reg .pred adds;\nsetp.ne.b32 adds, %66, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" OPERANDS_64 "}, %64, %65, adds, 1, 1, 0, 0;\n}\n"
                 : FLOATS_32(sum, 0), FLOATS_32(sum, 32)
                 : "l"(a.descriptor), "l"(b.descriptor), "r"(static_cast<int>(adds)));
}

// Begins sum (64x128) += a (64x16) b (16x128), with a in registers as for mma.m16n8k16, 16 rows of each warp's, and b's rows
// along the sum.
DEVICE void begin_product_add(float (&sum)[64], const uint32_t (&a)[4], Matrix b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" OPERANDS_64
                 "}, {%64, %65, %66, %67}, %68, 1, 1, 1, 1;"
                 : FLOATS_32(sum, 0), FLOATS_32(sum, 32)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.descriptor));
}

// The same with 64 columns.
DEVICE void begin_product_add(float (&sum)[32], const uint32_t (&a)[4], Matrix b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" OPERANDS_32
                 "}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1;"
                 : FLOATS_32(sum, 0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.descriptor));
}

#undef FLOATS_8
#undef FLOATS_32
#undef OPERANDS_32
#undef OPERANDS_64
