// Runs one kernel as emulation.hpp does: emulated KERNEL NUMBER..., the operands on standard input, one after the other,
// and the result on standard output. What numbers and operands a kernel takes is said at its function.
#include "device.cuh"

#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "attention.cu"
#include "synth.cu"

using emulation::launch;

namespace {

// Memory that ends where no one may read or write.
class Guarded {
public:
    explicit Guarded(size_t bytes) : bytes_(bytes) {
        size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), whole = (bytes + page - 1) / page * page;
        char *start = static_cast<char *>(
            mmap(nullptr, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        if (start == MAP_FAILED || mprotect(start + whole, page, PROT_NONE) != 0) emulation::fail("no memory");
        // A card's memory is aligned, so up to 15 bytes at the end go unguarded.
        at_ = start + (whole - bytes) / 16 * 16;
    }

    static Guarded read(size_t bytes) {
        Guarded memory(bytes);
        if (std::fread(memory.at_, 1, bytes, stdin) != bytes) emulation::fail("too few bytes on standard input");
        return memory;
    }

    void write() const { std::fwrite(at_, 1, bytes_, stdout); }

    template <typename T>
    T *as() const {
        return reinterpret_cast<T *>(at_);
    }

private:
    char *at_;
    size_t bytes_;
};

struct Arguments {
    std::vector<std::string> texts;

    uint64_t whole(size_t i) const { return std::stoull(texts.at(i)); }
    float real(size_t i) const { return std::stof(texts.at(i)); }
};

// count hash center amplitude; no operands.
void synth(const Arguments &numbers) {
    uint64_t count = numbers.whole(0);
    Guarded out(count * sizeof(bf16));
    launch({3}, {64}, 0, [&] {
        synth_bf16(out.as<bf16>(), count, numbers.whole(1), numbers.real(2), numbers.real(3));
    });
    out.write();
}

// width batch heads queries keys scale; q, k and v, each (batch, tokens, heads, width) with 8 elements between tokens
// that belong to no head, then the same of (batch, queries, heads, width) without those.
void attend(const Arguments &numbers) {
    uint64_t width = numbers.whole(0), batch = numbers.whole(1), heads = numbers.whole(2);
    uint64_t queries = numbers.whole(3), keys = numbers.whole(4), row = heads * width + 8;
    auto strides = [&](uint64_t tokens) {
        return attention::Strides{static_cast<int64_t>(tokens * row), static_cast<int64_t>(width),
                                  static_cast<int64_t>(row)};
    };
    attention::Sizes sizes{static_cast<int32_t>(heads), static_cast<int32_t>(queries), static_cast<int32_t>(keys)};
    Guarded q = Guarded::read(batch * queries * row * sizeof(bf16));
    Guarded k = Guarded::read(batch * keys * row * sizeof(bf16)), v = Guarded::read(batch * keys * row * sizeof(bf16));
    Guarded out(batch * queries * heads * width * sizeof(bf16));
    auto kernel = width == 64 ? attention_bf16_d64 : attention_bf16_d128;
    unsigned shared = width == 64 ? attention::shared_bytes<64, 2, 64> : attention::shared_bytes<128, 2, 32>;
    dim3 grid{static_cast<unsigned>(queries + 127) / 128, static_cast<unsigned>(batch * heads)};
    launch(grid, {attention::THREADS}, shared, [&] {
        kernel(q.as<bf16>(), k.as<bf16>(), v.as<bf16>(), out.as<bf16>(), strides(queries), strides(keys), strides(keys),
               sizes, numbers.real(5));
    });
    out.write();
}

}  // namespace

int main(int count, char **texts) {
    Arguments numbers{{texts + std::min(count, 2), texts + count}};
    std::string kernel = count > 1 ? texts[1] : "";
    if (kernel == "synth") synth(numbers);
    else if (kernel == "attention") attend(numbers);
    else emulation::fail("there is no such kernel");
}
