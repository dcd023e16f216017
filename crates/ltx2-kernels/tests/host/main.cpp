// Runs one kernel under emulation.hpp. Usage: emulated KERNEL ARGUMENT... with the operands concatenated on standard
// input and the result on standard output. The comment of each function lists the arguments; operands.
#include "device.cuh"

#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "attention/attention.cu"
#include "bias_epilogue.cu"
#include "conv3d/add_bias.cu"
#include "conv3d/im2col.cu"
#include "conv3d/implicit_gemm.cu"
#include "depth_to_space.cu"
#include "float8.cu"
#include "norm_rope.cu"
#include "pixel_norm.cu"
#include "residual.cu"
#include "rms_modulate.cu"
#include "synth.cu"

using emulation::launch;

namespace {

// Memory followed by an inaccessible page, so that accesses past the end fault.
class Guarded {
public:
    explicit Guarded(size_t bytes) : bytes_(bytes) {
        size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), whole = (bytes + page - 1) / page * page;
        char *start = static_cast<char *>(
            mmap(nullptr, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        if (start == MAP_FAILED || mprotect(start + whole, page, PROT_NONE) != 0) emulation::fail("cannot map memory");
        // Device memory is aligned to 16 bytes, so up to 15 bytes past the end are not guarded.
        at_ = start + (whole - bytes) / 16 * 16;
    }

    static Guarded read(size_t bytes) {
        Guarded memory(bytes);
        if (std::fread(memory.at_, 1, bytes, stdin) != bytes) emulation::fail("standard input is too short");
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

// Operand of `count` elements; null if `count` is 0.
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

    uint64_t integer(size_t i) const { return std::stoull(texts.at(i)); }
    float real(size_t i) const { return std::stof(texts.at(i)); }
};

// count hash center amplitude; no operands.
void run_synth(const Arguments &args) {
    uint64_t count = args.integer(0);
    Guarded out(count * sizeof(bf16));
    launch({3}, {64}, 0, [&] {
        synth_bf16(out.as<bf16>(), count, args.integer(1), args.real(2), args.real(3));
    });
    out.write();
}

// width batch heads queries keys scale; q, k and v, each (batch, tokens, heads, width) with 8 unused elements after
// each token. The result is (batch, queries, heads, width) without them.
void run_attention(const Arguments &args) {
    uint64_t width = args.integer(0), batch = args.integer(1), heads = args.integer(2);
    uint64_t queries = args.integer(3), keys = args.integer(4), row = heads * width + 8;
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
               sizes, args.real(5));
    });
    out.write();
}

// rows width scale-rows shift-rows eps; x, scale, shift.
template <typename T>
void run_rms_modulate(const Arguments &args,
                      void (*kernel)(const T *, const T *, const T *, T *, int32_t, int64_t, int64_t, float)) {
    uint64_t rows = args.integer(0), width = args.integer(1), scales = args.integer(2), shifts = args.integer(3);
    Guarded x = Guarded::read(rows * width * sizeof(T)), out(rows * width * sizeof(T));
    Optional<T> scale(scales * width), shift(shifts * width);
    launch({static_cast<unsigned>(rows)}, {64}, 0, [&] {
        kernel(x.as<T>(), scale.get(), shift.get(), out.as<T>(), static_cast<int32_t>(width),
               static_cast<int64_t>(scales > 1 ? width : 0), static_cast<int64_t>(shifts > 1 ? width : 0),
               args.real(4));
    });
    out.write();
}

// rows width bias-rows gate-rows; x, y, bias, gate.
template <typename T>
void run_residual(const Arguments &args,
                  void (*kernel)(const T *, const T *, const T *, const T *, T *, uint32_t, uint32_t, uint32_t)) {
    uint64_t width = args.integer(1), count = args.integer(0) * width, gates = args.integer(3) * width;
    Guarded x = Guarded::read(count * sizeof(T)), y = Guarded::read(count * sizeof(T)), out(count * sizeof(T));
    Optional<T> bias(args.integer(2) * width), gate(gates);
    auto vectors = [](uint64_t elements) { return static_cast<unsigned>(elements * sizeof(T) / 16); };
    launch({vectors(count) / 32 + 1}, {32}, 0, [&] {
        kernel(x.as<T>(), y.as<T>(), bias.get(), gate.get(), out.as<T>(), vectors(count), vectors(width),
               vectors(gates));
    });
    out.write();
}

// rows width bias-rows; y, bias.
template <typename T>
void run_bias_epilogue(const Arguments &args, void (*kernel)(const T *, const T *, T *, uint32_t, uint32_t)) {
    uint64_t width = args.integer(1), count = args.integer(0) * width;
    Guarded y = Guarded::read(count * sizeof(T)), out(count * sizeof(T));
    Optional<T> bias(args.integer(2) * width);
    unsigned vectors = count * sizeof(T) / 16, row = width * sizeof(T) / 16;
    launch({vectors / 32 + 1}, {32}, 0, [&] { kernel(y.as<T>(), bias.get(), out.as<T>(), vectors, row); });
    out.write();
}

// count scale; codes.
template <typename T>
void run_decode_e4m3(const Arguments &args, void (*kernel)(const uint8_t *, T *, uint64_t, float)) {
    uint64_t count = args.integer(0);
    Guarded codes = Guarded::read(count), out(count * sizeof(T));
    launch({3}, {32}, 0, [&] { kernel(codes.as<uint8_t>(), out.as<T>(), count, args.real(1)); });
    out.write();
}

// batch tokens heads width bias-rows tables eps; x, weight, bias, cos, sin.
template <typename T>
void run_norm_rope(const Arguments &args,
                   void (*kernel)(const T *, const T *, const T *, const T *, const T *, T *, int32_t, int32_t, int32_t,
                                  float)) {
    uint64_t batch = args.integer(0), tokens = args.integer(1), heads = args.integer(2), width = args.integer(3);
    uint64_t row = heads * width * sizeof(T), count = batch * tokens;
    Guarded x = Guarded::read(count * row), weight = Guarded::read(row), out(count * row);
    Optional<T> bias(args.integer(4) * heads * width);
    uint64_t angles = args.integer(5) * tokens * heads * width / 2;
    Optional<T> cos(angles), sin(angles);
    launch({static_cast<unsigned>(count)}, {96}, 0, [&] {
        kernel(x.as<T>(), bias.get(), weight.as<T>(), cos.get(), sin.get(), out.as<T>(), static_cast<int32_t>(tokens),
               static_cast<int32_t>(heads), static_cast<int32_t>(width), args.real(6));
    });
    out.write();
}

// frames channels pixels eps; x.
template <typename T>
void run_pixel_norm(const Arguments &args, int vector, void (*kernel)(const T *, T *, int32_t, int32_t, float)) {
    uint64_t frames = args.integer(0), channels = args.integer(1), pixels = args.integer(2);
    Guarded x = Guarded::read(frames * channels * pixels * sizeof(T)), out(frames * channels * pixels * sizeof(T));
    unsigned vectors = static_cast<unsigned>(pixels) / vector, blocks = vectors / pixel_norm::LANES + 1;
    launch({blocks, static_cast<unsigned>(frames)}, {pixel_norm::THREADS}, 0, [&] {
        kernel(x.as<T>(), out.as<T>(), static_cast<int32_t>(channels), static_cast<int32_t>(vectors), args.real(3));
    });
    out.write();
}

// t c h w; window frames, height and width, frames before, padding, reflect; first frame, first row, rows and width of
// the slice, its frames; x.
template <typename T>
void run_im2col(const Arguments &args, void (*kernel)(const T *, T *, window::Video, window::Window, im2col::Slice)) {
    auto at = [&](size_t i) { return static_cast<int32_t>(args.integer(i)); };
    window::Video video{at(0), at(1), at(2), at(3)};
    window::Window window{at(4), at(5), at(6), at(7), at(8), at(9)};
    im2col::Slice slice{at(10), at(11), at(12), at(13)};
    unsigned frames = at(14), rows = at(1) * at(4), pixels = at(12) * at(13);
    Guarded x = Guarded::read(sizeof(T) * at(0) * at(1) * at(2) * at(3));
    Guarded out(sizeof(T) * frames * rows * at(5) * at(6) * pixels);
    launch({pixels / 32 + 1, rows, frames}, {32}, 0, [&] { kernel(x.as<T>(), out.as<T>(), video, window, slice); });
    out.write();
}

// t c h w; window frames, frames before, padding, reflect; t c h w of the result; rows of a block, log2 of the tile
// width, values per vector, residual (0 or 1); x, weights, bias, residual.
void run_implicit_gemm(const Arguments &args) {
    auto at = [&](size_t i) { return static_cast<int32_t>(args.integer(i)); };
    window::Video video{at(0), at(1), at(2), at(3)};
    window::Window window{at(4), 3, 3, at(5), at(6), at(7)};
    implicit_gemm::Output output{at(9), at(10), at(11), at(13), at(14)};
    const int rows = at(12), columns = 1 << at(13), rows_of_tile = implicit_gemm::POSITIONS >> at(13);
    const size_t blocks = (at(9) + rows - 1) / rows, chunks = (at(1) + 31) / 32;
    const size_t count = sizeof(bf16) * at(8) * at(9) * at(10) * at(11);
    Guarded x = Guarded::read(sizeof(bf16) * at(0) * at(1) * at(2) * at(3));
    Guarded weights = Guarded::read(sizeof(bf16) * blocks * chunks * at(4) * 9 * 32 * rows);
    Guarded bias = Guarded::read(sizeof(bf16) * at(9)), residual = Guarded::read(at(15) ? count : 0), out(count);
    auto kernel = rows == 128 ? conv3d_implicit_gemm_128 : conv3d_implicit_gemm_64;
    const unsigned tiles = (at(11) + columns - 1) / columns * ((at(10) + rows_of_tile - 1) / rows_of_tile);
    const unsigned shared = rows == 128 ? implicit_gemm::shared_bytes<128> : implicit_gemm::shared_bytes<64>;
    launch({tiles, static_cast<unsigned>(blocks), static_cast<unsigned>(at(8))}, {implicit_gemm::THREADS}, shared, [&] {
        const bf16 *residual_at = at(15) ? residual.as<bf16>() : nullptr;
        kernel(x.as<bf16>(), weights.as<bf16>(), bias.as<bf16>(), residual_at, out.as<bf16>(), video, window, output);
    });
    out.write();
}

// frames channels pixels, first pixel and number of pixels of the slice, residual (0 or 1); x, bias, residual.
template <typename T>
void run_add_bias(const Arguments &args, int vector, void (*kernel)(T *, const T *, const T *, uint32_t, uint32_t)) {
    uint64_t frames = args.integer(0), channels = args.integer(1), pixels = args.integer(2), first = args.integer(3);
    uint32_t vectors = static_cast<uint32_t>(args.integer(4)) / vector, step = static_cast<uint32_t>(pixels) / vector;
    size_t bytes = frames * channels * pixels * sizeof(T);
    Guarded x = Guarded::read(bytes), bias = Guarded::read(channels * sizeof(T)), residual = Guarded::read(bytes);
    const T *residual_at = args.integer(5) ? residual.as<T>() + first : nullptr;
    launch({vectors / 32 + 1, static_cast<unsigned>(channels), static_cast<unsigned>(frames)}, {32}, 0,
           [&] { kernel(x.as<T>() + first, bias.as<T>(), residual_at, vectors, step); });
    x.write();
}

// t c h w of the result; stride; skipped frames; channels of the rearranged residual, 0 without one; x, residual.
template <typename T>
void run_depth_to_space(const Arguments &args,
                        void (*kernel)(const T *, const T *, T *, depth_to_space::Shape, int32_t)) {
    auto at = [&](size_t i) { return static_cast<int32_t>(args.integer(i)); };
    depth_to_space::Shape shape{at(2) / at(5), at(3) / at(6), at(4), at(5), at(6), at(7)};
    size_t pixels = at(2) * at(3), frames = at(0) + at(7);
    Guarded x = Guarded::read(sizeof(T) * frames * at(1) * pixels);
    Guarded residual = Guarded::read(sizeof(T) * frames * at(8) * pixels), out(sizeof(T) * at(0) * at(1) * pixels);
    dim3 grid{static_cast<unsigned>(pixels) / 32 + 1, static_cast<unsigned>(at(1)), static_cast<unsigned>(at(0))};
    launch(grid, {32}, 0,
           [&] { kernel(x.as<T>(), at(8) ? residual.as<T>() : nullptr, out.as<T>(), shape, at(8)); });
    out.write();
}

}  // namespace

int main(int count, char **texts) {
    Arguments args{{texts + std::min(count, 2), texts + count}};
    std::string kernel = count > 1 ? texts[1] : "";
    bool half = kernel.ends_with("_bf16");
    if (kernel == "synth_bf16") run_synth(args);
    else if (kernel == "attention_bf16") run_attention(args);
    else if (kernel.starts_with("rms_norm_modulate_"))
        half ? run_rms_modulate(args, rms_norm_modulate_bf16) : run_rms_modulate(args, rms_norm_modulate_f32);
    else if (kernel.starts_with("residual_"))
        half ? run_residual(args, residual_bf16) : run_residual(args, residual_f32);
    else if (kernel.starts_with("bias_sum_"))
        half ? run_bias_epilogue(args, bias_sum_bf16) : run_bias_epilogue(args, bias_sum_f32);
    else if (kernel.starts_with("bias_gelu_"))
        half ? run_bias_epilogue(args, bias_gelu_bf16) : run_bias_epilogue(args, bias_gelu_f32);
    else if (kernel.starts_with("decode_e4m3_"))
        half ? run_decode_e4m3(args, decode_e4m3_bf16) : run_decode_e4m3(args, decode_e4m3_f32);
    else if (kernel.starts_with("norm_rope_"))
        half ? run_norm_rope(args, norm_rope_bf16) : run_norm_rope(args, norm_rope_f32);
    else if (kernel == "pixel_norm_silu_bf16x8") run_pixel_norm(args, 8, pixel_norm_silu_bf16x8);
    else if (kernel == "pixel_norm_silu_bf16x1") run_pixel_norm(args, 1, pixel_norm_silu_bf16x1);
    else if (kernel == "pixel_norm_silu_f32x4") run_pixel_norm(args, 4, pixel_norm_silu_f32x4);
    else if (kernel == "pixel_norm_silu_f32x1") run_pixel_norm(args, 1, pixel_norm_silu_f32x1);
    else if (kernel == "im2col_16x8") run_im2col(args, im2col_16x8);
    else if (kernel == "im2col_16x1") run_im2col(args, im2col_16x1);
    else if (kernel == "im2col_32x4") run_im2col(args, im2col_32x4);
    else if (kernel == "im2col_32x1") run_im2col(args, im2col_32x1);
    else if (kernel == "conv3d_implicit_gemm") run_implicit_gemm(args);
    else if (kernel == "conv3d_add_bias_bf16x8") run_add_bias(args, 8, conv3d_add_bias_bf16x8);
    else if (kernel == "conv3d_add_bias_bf16x1") run_add_bias(args, 1, conv3d_add_bias_bf16x1);
    else if (kernel == "conv3d_add_bias_f32x4") run_add_bias(args, 4, conv3d_add_bias_f32x4);
    else if (kernel == "conv3d_add_bias_f32x1") run_add_bias(args, 1, conv3d_add_bias_f32x1);
    else if (kernel.starts_with("depth_to_space_"))
        half ? run_depth_to_space(args, depth_to_space_bf16) : run_depth_to_space(args, depth_to_space_f32);
    else emulation::fail("unknown kernel");
}
