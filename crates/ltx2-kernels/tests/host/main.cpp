// Runs one kernel as emulation.hpp does: emulated KERNEL NUMBER..., the operands on standard input, one after the other,
// and the result on standard output. What numbers and operands a kernel takes is said at its function.
#include "device.cuh"

#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "attention.cu"
#include "columns.cu"
#include "conv3d.cu"
#include "conv3d_tiles.cu"
#include "depth_to_space.cu"
#include "float8.cu"
#include "modulate.cu"
#include "norm_rope.cu"
#include "pixel_norm.cu"
#include "product.cu"
#include "residual.cu"
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

// An operand of `count` elements, null where there are none.
template <typename T>
class Optional {
public:
    explicit Optional(uint64_t count) : memory_(Guarded::read(count * sizeof(T))), count_(count) {}
    const T *get() const { return count_ > 0 ? memory_.as<T>() : nullptr; }

private:
    Guarded memory_;
    uint64_t count_;
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
    unsigned shared = width == 64 ? attention::shared_bytes<64, 4, 2, 64> : attention::shared_bytes<128, 4, 2, 32>;
    dim3 grid{static_cast<unsigned>(queries + 127) / 128, static_cast<unsigned>(batch * heads)};
    launch(grid, {128}, shared, [&] {
        kernel(q.as<bf16>(), k.as<bf16>(), v.as<bf16>(), out.as<bf16>(), strides(queries), strides(keys), strides(keys),
               sizes, numbers.real(5));
    });
    out.write();
}

// rows width scale-rows shift-rows eps; x, scale, shift.
template <typename T>
void modulated(const Arguments &numbers,
               void (*kernel)(const T *, const T *, const T *, T *, int32_t, int64_t, int64_t, float)) {
    uint64_t rows = numbers.whole(0), width = numbers.whole(1), scales = numbers.whole(2), shifts = numbers.whole(3);
    Guarded x = Guarded::read(rows * width * sizeof(T)), out(rows * width * sizeof(T));
    Optional<T> scale(scales * width), shift(shifts * width);
    launch({static_cast<unsigned>(rows)}, {64}, 0, [&] {
        kernel(x.as<T>(), scale.get(), shift.get(), out.as<T>(), static_cast<int32_t>(width),
               static_cast<int64_t>(scales > 1 ? width : 0), static_cast<int64_t>(shifts > 1 ? width : 0),
               numbers.real(4));
    });
    out.write();
}

// rows width bias-rows gate-rows; x, y, bias, gate.
template <typename T>
void added(const Arguments &numbers,
           void (*kernel)(const T *, const T *, const T *, const T *, T *, uint32_t, uint32_t, uint32_t)) {
    uint64_t width = numbers.whole(1), count = numbers.whole(0) * width, gates = numbers.whole(3) * width;
    Guarded x = Guarded::read(count * sizeof(T)), y = Guarded::read(count * sizeof(T)), out(count * sizeof(T));
    Optional<T> bias(numbers.whole(2) * width), gate(gates);
    auto packs = [](uint64_t elements) { return static_cast<unsigned>(elements * sizeof(T) / 16); };
    launch({packs(count) / 32 + 1}, {32}, 0, [&] {
        kernel(x.as<T>(), y.as<T>(), bias.get(), gate.get(), out.as<T>(), packs(count), packs(width), packs(gates));
    });
    out.write();
}

// rows width bias-rows; y, bias.
template <typename T>
void product_read(const Arguments &numbers, void (*kernel)(const T *, const T *, T *, uint32_t, uint32_t)) {
    uint64_t width = numbers.whole(1), count = numbers.whole(0) * width;
    Guarded y = Guarded::read(count * sizeof(T)), out(count * sizeof(T));
    Optional<T> bias(numbers.whole(2) * width);
    unsigned packs = count * sizeof(T) / 16, row = width * sizeof(T) / 16;
    launch({packs / 32 + 1}, {32}, 0, [&] { kernel(y.as<T>(), bias.get(), out.as<T>(), packs, row); });
    out.write();
}

// count scale; codes.
template <typename T>
void decoded(const Arguments &numbers, void (*kernel)(const uint8_t *, T *, uint64_t, float)) {
    uint64_t count = numbers.whole(0);
    Guarded codes = Guarded::read(count), out(count * sizeof(T));
    launch({3}, {32}, 0, [&] { kernel(codes.as<uint8_t>(), out.as<T>(), count, numbers.real(1)); });
    out.write();
}

// batch tokens heads width bias-rows tables eps; x, weight, bias, cos, sin.
template <typename T>
void turned(const Arguments &numbers, void (*kernel)(const T *, const T *, const T *, const T *, const T *, T *, int32_t,
                                                     int32_t, int32_t, float)) {
    uint64_t batch = numbers.whole(0), tokens = numbers.whole(1), heads = numbers.whole(2), width = numbers.whole(3);
    uint64_t row = heads * width * sizeof(T), count = batch * tokens;
    Guarded x = Guarded::read(count * row), weight = Guarded::read(row), out(count * row);
    Optional<T> bias(numbers.whole(4) * heads * width);
    uint64_t angles = numbers.whole(5) * tokens * heads * width / 2;
    Optional<T> cos(angles), sin(angles);
    launch({static_cast<unsigned>(count)}, {96}, 0, [&] {
        kernel(x.as<T>(), bias.get(), weight.as<T>(), cos.get(), sin.get(), out.as<T>(), static_cast<int32_t>(tokens),
               static_cast<int32_t>(heads), static_cast<int32_t>(width), numbers.real(6));
    });
    out.write();
}

// frames channels pixels eps; x.
template <typename T>
void pixels_normed(const Arguments &numbers, int at_once, void (*kernel)(const T *, T *, int32_t, int32_t, float)) {
    uint64_t frames = numbers.whole(0), channels = numbers.whole(1), pixels = numbers.whole(2);
    Guarded x = Guarded::read(frames * channels * pixels * sizeof(T)), out(frames * channels * pixels * sizeof(T));
    unsigned packs = static_cast<unsigned>(pixels) / at_once, blocks = packs / pixel_norm::LANES + 1;
    launch({blocks, static_cast<unsigned>(frames)}, {pixel_norm::THREADS}, 0, [&] {
        kernel(x.as<T>(), out.as<T>(), static_cast<int32_t>(channels), static_cast<int32_t>(packs), numbers.real(3));
    });
    out.write();
}

// t c h w; frames height width of the window, frames before, padding, whether that mirrors; first frame, top, height and width
// of the part; its frames. x.
template <typename T>
void gathered(const Arguments &numbers, void (*kernel)(const T *, T *, window::Video, window::Window, columns::Part)) {
    auto at = [&](size_t i) { return static_cast<int32_t>(numbers.whole(i)); };
    window::Video video{at(0), at(1), at(2), at(3)};
    window::Window window{at(4), at(5), at(6), at(7), at(8), at(9)};
    columns::Part part{at(10), at(11), at(12), at(13)};
    unsigned frames = at(14), rows = at(1) * at(4), pixels = at(12) * at(13);
    Guarded x = Guarded::read(sizeof(T) * at(0) * at(1) * at(2) * at(3));
    Guarded out(sizeof(T) * frames * rows * at(5) * at(6) * pixels);
    launch({pixels / 32 + 1, rows, frames}, {32}, 0, [&] { kernel(x.as<T>(), out.as<T>(), video, window, part); });
    out.write();
}

// t c h w; frames of the window, frames before, padding, whether that mirrors; t c h w of the result; rows of a block, its
// columns as a power of two, how many values are written at once, whether a residual is added. x, weights, bias, residual.
void convolved(const Arguments &numbers) {
    auto at = [&](size_t i) { return static_cast<int32_t>(numbers.whole(i)); };
    window::Video video{at(0), at(1), at(2), at(3)};
    window::Window window{at(4), 3, 3, at(5), at(6), at(7)};
    conv3d_tiles::Result result{at(9), at(10), at(11), at(13), at(14)};
    const int rows = at(12), columns = 1 << at(13), lines = conv3d_tiles::PLACES >> at(13);
    const size_t blocks = (at(9) + rows - 1) / rows, chunks = (at(1) + 31) / 32;
    const size_t count = sizeof(bf16) * at(8) * at(9) * at(10) * at(11);
    Guarded x = Guarded::read(sizeof(bf16) * at(0) * at(1) * at(2) * at(3));
    Guarded weights = Guarded::read(sizeof(bf16) * blocks * chunks * at(4) * 9 * 32 * rows);
    Guarded bias = Guarded::read(sizeof(bf16) * at(9)), residual = Guarded::read(at(15) ? count : 0), out(count);
    auto kernel = rows == 128 ? conv3d_tiles_128 : conv3d_tiles_64;
    const unsigned tiles = (at(11) + columns - 1) / columns * ((at(10) + lines - 1) / lines);
    const unsigned shared = rows == 128 ? conv3d_tiles::shared_bytes<128> : conv3d_tiles::shared_bytes<64>;
    launch({tiles, static_cast<unsigned>(blocks), static_cast<unsigned>(at(8))}, {conv3d_tiles::THREADS}, shared, [&] {
        kernel(x.as<bf16>(), weights.as<bf16>(), bias.as<bf16>(), at(15) ? residual.as<bf16>() : nullptr, out.as<bf16>(),
               video, window, result);
    });
    out.write();
}

// frames channels pixels, first pixel and pixels that are added to, whether to a residual; x, bias, residual.
template <typename T>
void biased(const Arguments &numbers, int at_once, void (*kernel)(T *, const T *, const T *, uint32_t, uint32_t)) {
    uint64_t frames = numbers.whole(0), channels = numbers.whole(1), pixels = numbers.whole(2), first = numbers.whole(3);
    uint32_t packs = static_cast<uint32_t>(numbers.whole(4)) / at_once, step = static_cast<uint32_t>(pixels) / at_once;
    size_t bytes = frames * channels * pixels * sizeof(T);
    Guarded x = Guarded::read(bytes), bias = Guarded::read(channels * sizeof(T)), residual = Guarded::read(bytes);
    const T *added = numbers.whole(5) ? residual.as<T>() + first : nullptr;
    launch({packs / 32 + 1, static_cast<unsigned>(channels), static_cast<unsigned>(frames)}, {32}, 0,
           [&] { kernel(x.as<T>() + first, bias.as<T>(), added, packs, step); });
    x.write();
}

// t c h w of the result; its stride; frames that are skipped; channels of what is added, 0 for nothing. x, added.
template <typename T>
void grown(const Arguments &numbers,
           void (*kernel)(const T *, const T *, T *, depth_to_space::Shape, int32_t)) {
    auto at = [&](size_t i) { return static_cast<int32_t>(numbers.whole(i)); };
    depth_to_space::Shape shape{at(2) / at(5), at(3) / at(6), at(4), at(5), at(6), at(7)};
    size_t pixels = at(2) * at(3), frames = at(0) + at(7);
    Guarded x = Guarded::read(sizeof(T) * frames * at(1) * pixels);
    Guarded added = Guarded::read(sizeof(T) * frames * at(8) * pixels), out(sizeof(T) * at(0) * at(1) * pixels);
    launch({static_cast<unsigned>(pixels) / 32 + 1, static_cast<unsigned>(at(1)), static_cast<unsigned>(at(0))}, {32}, 0,
           [&] { kernel(x.as<T>(), at(8) ? added.as<T>() : nullptr, out.as<T>(), shape, at(8)); });
    out.write();
}

}  // namespace

int main(int count, char **texts) {
    Arguments numbers{{texts + std::min(count, 2), texts + count}};
    std::string kernel = count > 1 ? texts[1] : "";
    bool half = kernel.ends_with("_bf16");
    if (kernel == "synth_bf16") synth(numbers);
    else if (kernel == "attention_bf16") attend(numbers);
    else if (kernel.starts_with("rms_norm_modulate_"))
        half ? modulated(numbers, rms_norm_modulate_bf16) : modulated(numbers, rms_norm_modulate_f32);
    else if (kernel.starts_with("residual_")) half ? added(numbers, residual_bf16) : added(numbers, residual_f32);
    else if (kernel.starts_with("product_sum_"))
        half ? product_read(numbers, product_sum_bf16) : product_read(numbers, product_sum_f32);
    else if (kernel.starts_with("product_gelu_"))
        half ? product_read(numbers, product_gelu_bf16) : product_read(numbers, product_gelu_f32);
    else if (kernel.starts_with("decode_e4m3_"))
        half ? decoded(numbers, decode_e4m3_bf16) : decoded(numbers, decode_e4m3_f32);
    else if (kernel.starts_with("norm_rope_")) half ? turned(numbers, norm_rope_bf16) : turned(numbers, norm_rope_f32);
    else if (kernel == "pixel_norm_silu_bf16x8") pixels_normed(numbers, 8, pixel_norm_silu_bf16x8);
    else if (kernel == "pixel_norm_silu_bf16x1") pixels_normed(numbers, 1, pixel_norm_silu_bf16x1);
    else if (kernel == "pixel_norm_silu_f32x4") pixels_normed(numbers, 4, pixel_norm_silu_f32x4);
    else if (kernel == "pixel_norm_silu_f32x1") pixels_normed(numbers, 1, pixel_norm_silu_f32x1);
    else if (kernel == "columns_16x8") gathered(numbers, columns_16x8);
    else if (kernel == "columns_16x1") gathered(numbers, columns_16x1);
    else if (kernel == "columns_32x4") gathered(numbers, columns_32x4);
    else if (kernel == "columns_32x1") gathered(numbers, columns_32x1);
    else if (kernel == "conv3d_tiles") convolved(numbers);
    else if (kernel == "add_bias_bf16x8") biased(numbers, 8, add_bias_bf16x8);
    else if (kernel == "add_bias_bf16x1") biased(numbers, 1, add_bias_bf16x1);
    else if (kernel == "add_bias_f32x4") biased(numbers, 4, add_bias_f32x4);
    else if (kernel == "add_bias_f32x1") biased(numbers, 1, add_bias_f32x1);
    else if (kernel.starts_with("depth_to_space_"))
        half ? grown(numbers, depth_to_space_bf16) : grown(numbers, depth_to_space_f32);
    else emulation::fail("there is no such kernel");
}
