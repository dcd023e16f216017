// Emulation of a GPU on the host: runs the blocks of a kernel one after another and each thread of a block as a fiber,
// and implements the functions of device.cuh. To expose missing barriers, fibers switch only at synchronization points,
// in varying order, shared memory is initialized to NaN, and an asynchronous copy arrives only when it is waited for.
#pragma once

#include <ucontext.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#define DEVICE inline
#define __global__
#define __device__
#define __shared__ static
#define THREADS_PER_BLOCK(count)
#define UNROLL
#define ROLLED

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

namespace emulation {

constexpr int LANES = 32;
constexpr size_t STACK = 256 << 10;
constexpr size_t SHARED = 227 << 10;

[[noreturn]] inline void fail(const char *what) {
    std::fprintf(stderr, "emulation: %s\n", what);
    std::exit(1);
}

struct Copy {
    uint32_t to;
    const void *from;
    bool valid;
};

// Releases the waiting threads when the last one arrives.
struct Barrier {
    unsigned arrived = 0;
    uint64_t generation = 0;
};

struct Warp {
    Barrier barrier;
    const char *operation = nullptr;
    alignas(16) unsigned char in[LANES][64];
    alignas(16) unsigned char out[LANES][64];
};

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack = std::make_unique<char[]>(STACK);
    unsigned index = 0;
    bool done = false;
    const Barrier *barrier = nullptr;
    uint64_t generation = 0;
    std::vector<Copy> open;
    std::vector<std::vector<Copy>> groups;
};

struct Gpu {
    dim3 grid, block, block_at;
    size_t shared_bytes = 0;
    alignas(128) unsigned char shared[SHARED];
    std::vector<std::unique_ptr<Fiber>> fibers;
    std::vector<Warp> warps;
    Barrier all;
    Fiber *running = nullptr;
    ucontext_t scheduler;
    std::function<void()> kernel;
    std::minstd_rand order{1};
};

inline Gpu gpu;

template <typename Last>
void wait_at(Barrier &barrier, unsigned count, Last last) {
    Fiber *self = gpu.running;
    uint64_t generation = barrier.generation;
    if (++barrier.arrived == count) {
        last();
        barrier.arrived = 0;
        barrier.generation++;
        return;
    }
    self->barrier = &barrier;
    self->generation = generation;
    swapcontext(&self->context, &gpu.scheduler);
    self->barrier = nullptr;
}

// Warp-wide exchange: each lane contributes `in`, and `combine` computes the result of every lane from all 32.
template <typename Out, typename In, typename Combine>
Out exchange(const char *operation, const In &in, Combine combine) {
    static_assert(sizeof(In) <= 64 && sizeof(Out) <= 64);
    unsigned index = gpu.running->index, lane = index % LANES;
    Warp &warp = gpu.warps[index / LANES];
    if (warp.barrier.arrived > 0 && std::strcmp(warp.operation, operation) != 0) fail("the lanes of a warp diverge");
    warp.operation = operation;
    std::memcpy(warp.in[lane], &in, sizeof(In));
    wait_at(warp.barrier, LANES, [&] {
        In all[LANES];
        Out results[LANES];
        for (int i = 0; i < LANES; i++) std::memcpy(&all[i], warp.in[i], sizeof(In));
        combine(all, results);
        for (int i = 0; i < LANES; i++) std::memcpy(warp.out[i], &results[i], sizeof(Out));
    });
    Out out;
    std::memcpy(&out, warp.out[lane], sizeof(Out));
    return out;
}

inline unsigned char *shared_at(uint32_t address, uint32_t bytes = 16) {
    if (address % bytes != 0 || address + bytes > gpu.shared_bytes)
        fail("a shared address is unaligned or out of bounds");
    return gpu.shared + address;
}

inline void start_fiber() {
    gpu.kernel();
    gpu.running->done = true;
    swapcontext(&gpu.running->context, &gpu.scheduler);
}

inline void run_block() {
    std::memset(gpu.shared, 0xff, sizeof(gpu.shared));
    unsigned threads = gpu.block.x * gpu.block.y * gpu.block.z;
    if (threads % LANES != 0) fail("a block must consist of whole warps");
    gpu.warps.assign(threads / LANES, Warp{});
    gpu.all = Barrier{};
    while (gpu.fibers.size() < threads) gpu.fibers.push_back(std::make_unique<Fiber>());
    for (unsigned i = 0; i < threads; i++) {
        Fiber &fiber = *gpu.fibers[i];
        fiber.index = i;
        fiber.done = false;
        fiber.barrier = nullptr;
        fiber.open.clear();
        fiber.groups.clear();
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, start_fiber, 0);
    }
    for (unsigned running = threads; running > 0;) {
        bool moved = false;
        unsigned first = gpu.order() % threads, step = 2 * (gpu.order() % threads) + 1;
        while (std::gcd(step, threads) != 1) step += 2;
        for (unsigned i = 0; i < threads; i++) {
            Fiber &fiber = *gpu.fibers[(first + i * step) % threads];
            if (fiber.done || (fiber.barrier && fiber.barrier->generation == fiber.generation)) continue;
            moved = true;
            gpu.running = &fiber;
            swapcontext(&gpu.scheduler, &fiber.context);
            running -= fiber.done;
        }
        if (!moved) fail("deadlock: threads wait at a barrier that others do not reach");
    }
}

// Runs `kernel` for each block of `grid`.
inline void launch(dim3 grid, dim3 block, size_t shared_bytes, std::function<void()> kernel) {
    if (shared_bytes > SHARED) fail("more shared memory than a GPU has");
    gpu.grid = grid;
    gpu.block = block;
    gpu.shared_bytes = shared_bytes;
    gpu.kernel = std::move(kernel);
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                gpu.block_at = dim3{x, y, z};
                run_block();
            }
}

inline dim3 thread_at() {
    unsigned i = gpu.running->index;
    return dim3{i % gpu.block.x, i / gpu.block.x % gpu.block.y, i / (gpu.block.x * gpu.block.y)};
}

}  // namespace emulation

#define threadIdx (emulation::thread_at())
#define blockIdx (emulation::gpu.block_at)
#define blockDim (emulation::gpu.block)
#define gridDim (emulation::gpu.grid)

inline void __syncthreads() {
    unsigned threads = static_cast<unsigned>(emulation::gpu.warps.size()) * emulation::LANES;
    emulation::wait_at(emulation::gpu.all, threads, [] {});
}

inline float mul_rn(float a, float b) { return a * b; }
inline float add_rn(float a, float b) { return a + b; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float exp2_fast(float x) { return std::exp2(x); }
inline float divide_fast(float a, float b) { return a / b; }

inline float bits_to_float(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, sizeof(x));
    return x;
}

inline uint32_t bf16_bits(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof(bits));
    if (std::isnan(x)) return 0x7fff;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

inline uint32_t pack_bf16(float low, float high) { return bf16_bits(high) << 16 | bf16_bits(low); }

inline float lane_xor(float value, int mask) {
    struct In {
        float value;
        int mask;
    };
    return emulation::exchange<float>("shuffle", In{value, mask}, [](const In *in, float *out) {
        for (int i = 0; i < emulation::LANES; i++) out[i] = in[i ^ in[i].mask].value;
    });
}

inline uint32_t shared_base() { return 0; }

inline void store_shared(uint32_t to, const uint32_t (&values)[4]) {
    std::memcpy(emulation::shared_at(to), values, sizeof(values));
}

inline void store_shared(uint32_t to, uint32_t value) {
    std::memcpy(emulation::shared_at(to, sizeof(value)), &value, sizeof(value));
}

inline void load_shared(uint32_t (&to)[4], uint32_t from) { std::memcpy(to, emulation::shared_at(from), sizeof(to)); }

inline void copy_async(uint32_t to, const bf16 *from, bool valid) {
    if (reinterpret_cast<uintptr_t>(from) % 16 != 0) emulation::fail("the source of an asynchronous copy is unaligned");
    emulation::gpu.running->open.push_back({to, from, valid});
}

inline void copy_commit() {
    auto &fiber = *emulation::gpu.running;
    fiber.groups.push_back(std::move(fiber.open));
    fiber.open.clear();
}

template <int Pending>
inline void copy_wait() {
    auto &groups = emulation::gpu.running->groups;
    while (groups.size() > static_cast<size_t>(Pending)) {
        for (const auto &copy : groups.front()) {
            unsigned char *to = emulation::shared_at(copy.to);
            if (copy.valid) std::memcpy(to, copy.from, 16);
            else std::memset(to, 0, 16);
        }
        groups.erase(groups.begin());
    }
}

namespace emulation {

struct Registers {
    uint32_t at[4];
};

// Element `half` of row `row` of matrix `matrix`.
inline uint32_t element(const uint32_t *rows, int matrix, int row, int half) {
    uint16_t value;
    std::memcpy(&value, shared_at(rows[matrix * 8 + row]) + 2 * half, sizeof(value));
    return value;
}

template <bool Transposed>
void matrices(const uint32_t *rows, Registers *out) {
    for (int lane = 0; lane < LANES; lane++)
        for (int j = 0; j < 4; j++) {
            int line = lane / 4, pair = 2 * (lane % 4);
            uint32_t low = Transposed ? element(rows, j, pair, line) : element(rows, j, line, pair);
            uint32_t high = Transposed ? element(rows, j, pair + 1, line) : element(rows, j, line, pair + 1);
            out[lane].at[j] = high << 16 | low;
        }
}

struct Multiply {
    uint32_t a[4], b[2];
    float c[4];
};

struct Accumulators {
    float at[4];
};

inline float half_of(uint32_t pair, int half) { return bits_to_float(half ? pair & 0xffff0000u : pair << 16); }

// PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type".
inline void multiply_tiles(const Multiply *in, Accumulators *out) {
    float a[16][16], b[16][8];
    for (int lane = 0; lane < LANES; lane++) {
        int group = lane / 4, pair = 2 * (lane % 4);
        for (int j = 0; j < 4; j++)
            for (int half = 0; half < 2; half++)
                a[group + 8 * (j % 2)][pair + half + 8 * (j / 2)] = half_of(in[lane].a[j], half);
        for (int j = 0; j < 2; j++)
            for (int half = 0; half < 2; half++) b[pair + half + 8 * j][group] = half_of(in[lane].b[j], half);
    }
    for (int lane = 0; lane < LANES; lane++)
        for (int j = 0; j < 4; j++) {
            int row = lane / 4 + 8 * (j / 2), column = 2 * (lane % 4) + j % 2;
            float sum = in[lane].c[j];
            for (int k = 0; k < 16; k++) sum += a[row][k] * b[k][column];
            out[lane].at[j] = sum;
        }
}

}  // namespace emulation

inline void load_matrices(uint32_t (&to)[4], uint32_t row) {
    auto got = emulation::exchange<emulation::Registers>("load", row, emulation::matrices<false>);
    std::memcpy(to, got.at, sizeof(to));
}

inline void load_matrices_transposed(uint32_t (&to)[4], uint32_t row) {
    auto got = emulation::exchange<emulation::Registers>("transposed load", row, emulation::matrices<true>);
    std::memcpy(to, got.at, sizeof(to));
}

inline void mma(float (&acc)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    emulation::Multiply in{{a[0], a[1], a[2], a[3]}, {b0, b1}, {acc[0], acc[1], acc[2], acc[3]}};
    auto got = emulation::exchange<emulation::Accumulators>("product", in, emulation::multiply_tiles);
    std::memcpy(acc, got.at, sizeof(acc));
}
