// 3-D convolution as an implicit GEMM, without an im2col matrix, on tensor cores from sm_80 on: bfloat16 operands and
// result, float32 accumulators. The window is 3x3 with any number of frames.
//
// A block computes ROWS output channels at the POSITIONS positions of a tile of one frame. A step covers 32 input
// channels of one window frame: the input tile with its halo of one position on each side. The nine taps of the window
// frame read the same input tile, each at its own offset. Weights are copied asynchronously, three taps at a time, into
// two buffers, of which one is read while the other is filled. The input of the next step is loaded through registers
// meanwhile and stored channels-last.
//
// In shared memory eight channels of a position, or of a row of weights, are a chunk of 16 bytes. The chunks of
// neighbouring positions and rows are contiguous, followed by those of the next eight channels: eight consecutive rows
// are in different banks wherever they start, and the offset of a tap is a constant.
#include "conv3d/window.cuh"
#include "device.cuh"

namespace implicit_gemm {

constexpr int WARPS = 8, THREADS = WARPS * 32, POSITIONS = 256, CHANNELS = 32, CHUNKS = CHANNELS / 8;
// Positions of the largest input tiles: 8 by 32 and 32 by 8 positions with their halo.
constexpr int INPUT_POSITIONS = 10 * 34, REST = INPUT_POSITIONS - THREADS;
constexpr uint32_t PLANE_BYTES = INPUT_POSITIONS * 16, STEP_BYTES = CHUNKS * PLANE_BYTES;
// Distance between rows of the result in shared memory, padded so that the pairs of eight rows are in different banks.
constexpr uint32_t RESULT_BYTES = POSITIONS * 2 + 16;

// Dimensions of the result, base-2 logarithm of the tile width, and values per vector access: 8 or 1.
struct Output {
    int32_t channels, height, width, log2_tile_width, vector;
};

// Weights of a row of three taps, in elements.
template <int ROWS>
constexpr int TAP_ROW = 3 * ROWS * CHANNELS;

// Shared memory of a block: two input tiles and the weights of two rows of taps. The result reuses the input's memory.
template <int ROWS>
constexpr unsigned shared_bytes = 2 * STEP_BYTES + 2 * TAP_ROW<ROWS> * 2;

// Output tile of a block: its frame, first row and first column.
struct Tile {
    int frame, top, left, log2_width;

    DEVICE explicit Tile(const Output &output) : frame(blockIdx.z), log2_width(output.log2_tile_width) {
        const int columns = 1 << log2_width, tiles = (output.width + columns - 1) >> log2_width;
        top = static_cast<int>(blockIdx.x) / tiles * (POSITIONS >> log2_width);
        left = static_cast<int>(blockIdx.x) % tiles * columns;
    }

    // Positions in a row of the input tile.
    DEVICE int pitch() const { return (1 << log2_width) + 2; }

    // Index in a video frame of `position` of the input tile; -1 for a padding zero.
    DEVICE int source(int position, const window::Video &video, const window::Window &window) const {
        const int y = top + position / pitch() - window.padding;
        const int row = window::source_index(y, video.height, window.reflect);
        const int x = left + position % pitch() - window.padding;
        const int column = window::source_index(x, video.width, window.reflect);
        return row < 0 || column < 0 ? -1 : row * video.width + column;
    }
};

// Loads the input tile of a step in six rounds of one chunk per thread: in the first four rounds the chunks of the
// thread's own position, in the other two those of the REST remaining positions.
class Loader {
public:
    DEVICE Loader(const bf16 *x, const window::Video &video, const window::Window &window, const Tile &tile)
        : x(x), video(video), window(window), plane(video.height * video.width),
          first_frame(tile.frame), rest(static_cast<int>(threadIdx.x) / REST) {
        sources[0] = tile.source(position_of(0), video, window);
        sources[1] = tile.source(position_of(CHUNKS), video, window);
        update_base();
    }

    // Moves to the next step.
    DEVICE void advance() {
        if (++frame == window.frames) {
            frame = 0;
            channel += CHANNELS;
        }
        update_base();
    }

    // Loads the chunk of `round` to registers: zeros for padding and for channels past the end, as after the last step.
    DEVICE void load(int round) {
        const int chunk = chunk_of(round), at = round < CHUNKS ? sources[0] : sources[1];
        const bf16 *value = base + static_cast<int64_t>(plane) * (chunk * 8) + at;
        const bool exists = takes_part(round) && at >= 0 && channel + chunk * 8 < video.channels;
        UNROLL for (int j = 0; j < 8; j++) values[j] = exists ? value[static_cast<int64_t>(plane) * j].bits : 0;
    }

    // Stores the loaded chunk of `round` to the input tile at `input`.
    DEVICE void store(uint32_t input, int round) const {
        uint32_t pairs[4];
        UNROLL for (int j = 0; j < 4; j++) pairs[j] = values[2 * j] | static_cast<uint32_t>(values[2 * j + 1]) << 16;
        if (takes_part(round))
            store_shared(input + chunk_of(round) * PLANE_BYTES + position_of(round) * 16, pairs);
    }

private:
    const bf16 *x;
    const window::Video &video;
    const window::Window &window;
    const int plane, first_frame, rest;
    // Source indices of this thread's two positions.
    int sources[2];
    // First channel and window frame of the step.
    int channel = 0, frame = 0;
    const bf16 *base;
    uint16_t values[8];

    DEVICE void update_base() {
        const int64_t source = window::source_frame(first_frame + frame, video, window);
        base = x + (source * video.channels + channel) * plane;
    }

    DEVICE static int position_of(int round) {
        const int thread = threadIdx.x;
        return round < CHUNKS ? thread : THREADS + thread % REST;
    }

    DEVICE int chunk_of(int round) const { return round < CHUNKS ? round : round == CHUNKS ? rest : CHUNKS - 1; }

    // The fifth round loads three chunks of each remaining position, the sixth the fourth.
    DEVICE bool takes_part(int round) const { return round <= CHUNKS || rest == 0; }
};

// State of a warp: TILES times 16 output channels at 64 positions. The warps of a block are two rows of four.
template <int TILES>
struct Warp {
    static constexpr int ROWS = 2 * TILES * 16;
    // Of each 16 channels a lane holds rows lane / 4 and lane / 4 + 8, two neighbours of every 8 positions.
    float accumulators[TILES][8][4];
    int row, position;
    // Offsets of this lane's matrix rows: of each 16 positions in the input tile, and in the weights of a tap.
    uint32_t input_offsets[4], weight_offset;

    DEVICE explicit Warp(const Tile &tile) {
        const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        row = warp / 4 * TILES * 16;
        position = warp % 4 * 64;
        UNROLL for (int m = 0; m < TILES; m++)
            UNROLL for (int n = 0; n < 8; n++)
                UNROLL for (int i = 0; i < 4; i++) accumulators[m][n][i] = 0.0f;
        UNROLL for (int n = 0; n < 4; n++) {
            const int at = position + n * 16 + lane % 8 + lane / 16 * 8;
            const int input = (at >> tile.log2_width) * tile.pitch() + (at & ((1 << tile.log2_width) - 1));
            input_offsets[n] = lane / 8 % 2 * PLANE_BYTES + input * 16;
        }
        weight_offset = (lane / 16 * ROWS + row + lane % 16) * 16;
    }

    // accumulators += weights of a tap · input of the tap.
    DEVICE void multiply(uint32_t weights, uint32_t input) {
        UNROLL for (int half = 0; half < 2; half++) {
            uint32_t a[TILES][4];
            UNROLL for (int m = 0; m < TILES; m++)
                load_matrices(a[m], weights + weight_offset + (half * 2 * ROWS + m * 16) * 16);
            UNROLL for (int n = 0; n < 4; n++) {
                uint32_t b[4];
                load_matrices(b, input + input_offsets[n] + half * 2 * PLANE_BYTES);
                UNROLL for (int m = 0; m < TILES; m++) {
                    mma(accumulators[m][2 * n], a[m], b[0], b[1]);
                    mma(accumulators[m][2 * n + 1], a[m], b[2], b[3]);
                }
            }
        }
    }

    // Stores the accumulators to shared memory in bfloat16.
    DEVICE void store(uint32_t to) const {
        const int lane = threadIdx.x % 32;
        to += (row + lane / 4) * RESULT_BYTES + (position + lane % 4 * 2) * 2;
        UNROLL for (int m = 0; m < TILES; m++)
            UNROLL for (int n = 0; n < 8; n++)
                UNROLL for (int half = 0; half < 2; half++)
                    store_shared(to + (m * 16 + half * 8) * RESULT_BYTES + n * 16,
                                 pack_bf16(accumulators[m][n][2 * half], accumulators[m][n][2 * half + 1]));
    }
};

// Adds the bias and an optional residual, rounded where candle's separate additions round.
DEVICE bf16 epilogue(uint32_t product, float bias, const bf16 *residual) {
    bf16 sum = round_to<bf16>(add_rn(bits_to_float(product << 16), bias));
    return residual == nullptr ? sum : round_to<bf16>(add_rn(to_float(*residual), to_float(sum)));
}

// Writes the block's result from shared memory, rows of channels from `first` on at `from`, through the epilogue.
template <int ROWS>
DEVICE void write(uint32_t from, const bf16 *bias, const bf16 *residual, bf16 *out, const Tile &tile,
                  const Output &output, int first) {
    using V = Vector<bf16, 8>;
    constexpr int VECTORS = POSITIONS / 8;
    const int vector = threadIdx.x % VECTORS, position = vector * 8;
    const int y = tile.top + (position >> tile.log2_width);
    const int column = tile.left + (position & ((1 << tile.log2_width) - 1));
    if (y >= output.height || column >= output.width) return;
    for (int row = threadIdx.x / VECTORS; row < ROWS && first + row < output.channels; row += THREADS / VECTORS) {
        const int64_t plane = static_cast<int64_t>(tile.frame) * output.channels + first + row;
        const int64_t at = (plane * output.height + y) * output.width + column;
        const float offset = to_float(bias[first + row]);
        uint32_t pairs[4];
        load_shared(pairs, from + row * RESULT_BYTES + vector * 16);
        V sum, other;
        if (residual != nullptr && output.vector == 8) other = *reinterpret_cast<const V *>(residual + at);
        UNROLL for (int j = 0; j < 8; j++) {
            const bool exists = column + j < output.width;
            if (residual != nullptr && output.vector != 8 && exists) other.at[j] = residual[at + j];
            const uint32_t product = j % 2 == 0 ? pairs[j / 2] & 0xffff : pairs[j / 2] >> 16;
            sum.at[j] = epilogue(product, offset, residual == nullptr ? nullptr : &other.at[j]);
            if (output.vector != 8 && exists) out[at + j] = sum.at[j];
        }
        if (output.vector == 8) *reinterpret_cast<V *>(out + at) = sum;
    }
}

template <int TILES>
DEVICE void convolve(const bf16 *x, const bf16 *weights, const bf16 *bias, const bf16 *residual, bf16 *out,
                     const window::Video &video, const window::Window &window, const Output &output) {
    constexpr int ROWS = Warp<TILES>::ROWS;
    const uint32_t inputs = shared_base(), weights_at = inputs + 2 * STEP_BYTES;
    const Tile tile(output);
    const int steps = (video.channels + CHANNELS - 1) / CHANNELS * window.frames;
    // This thread's chunks of the block's weights.
    weights += static_cast<int64_t>(blockIdx.y) * steps * 3 * TAP_ROW<ROWS> + threadIdx.x * 8;
    // Only the parity of `tap_row` matters, and 3 step + dy has that of step + dy.
    auto copy_tap_row = [&](int tap_row) {
        const uint32_t to = weights_at + tap_row % 2 * TAP_ROW<ROWS> * 2 + threadIdx.x * 16;
        UNROLL for (int i = 0; i < TAP_ROW<ROWS> / 8; i += THREADS) copy_async(to + i * 16, weights + i * 8, true);
        copy_commit();
        weights += TAP_ROW<ROWS>;
    };
    copy_tap_row(0);
    Loader loader(x, video, window, tile);
    ROLLED for (int round = 0; round < 6; round++) {
        loader.load(round);
        loader.store(inputs, round);
    }

    Warp<TILES> warp(tile);
    const int first = blockIdx.y * ROWS;
    const bool idle =
        first + warp.row >= output.channels || tile.top + (warp.position >> tile.log2_width) >= output.height;
    auto run_steps = [&](auto multiply) {
        for (int step = 0; step < steps; step++) {
            loader.advance();
            const uint32_t next = inputs + (step + 1) % 2 * STEP_BYTES;
            ROLLED for (int dy = 0; dy < 3; dy++) {
                copy_wait<0>();
                // Weights and input of the step have arrived for all threads, and no thread reads the buffers filled
                // next.
                __syncthreads();
                if (step + 1 < steps || dy < 2) copy_tap_row(step + dy + 1);
                const uint32_t input = inputs + step % 2 * STEP_BYTES + dy * tile.pitch() * 16;
                const uint32_t taps = weights_at + (step + dy) % 2 * TAP_ROW<ROWS> * 2;
                // Without a branch in between, so that the loads are first waited for after the products.
                UNROLL for (int dx = 0; dx < 3; dx++) {
                    if (dx < 2) loader.load(2 * dy + dx);
                    multiply(taps + dx * ROWS * CHANNELS * 2, input + dx * 16);
                    if (dx < 2) loader.store(next, 2 * dy + dx);
                }
            }
        }
    };
    if (idle) run_steps([](uint32_t, uint32_t) {});
    else run_steps([&](uint32_t taps, uint32_t input) { warp.multiply(taps, input); });
    __syncthreads();
    warp.store(inputs);
    __syncthreads();
    write<ROWS>(inputs, bias, residual, out, tile, output, first);
}

}  // namespace implicit_gemm

// `x (frames, channels, height, width)` to `out (frames, output channels, height, width)`. `weights (output channels /
// rows, channels / 32, taps, 4, rows, 8)`, padded with zero channels. `residual` may be null. Grid: tiles of a frame;
// output channels over rows, rounded up; frames.
#define CONVOLVE(name, tiles)                                                                                          \
    extern "C" __global__ void THREADS_PER_BLOCK(implicit_gemm::THREADS)                                               \
        name(const bf16 *x, const bf16 *weights, const bf16 *bias, const bf16 *residual, bf16 *out,                    \
             window::Video video, window::Window window, implicit_gemm::Output output) {                               \
        implicit_gemm::convolve<tiles>(x, weights, bias, residual, out, video, window, output);                        \
    }

CONVOLVE(conv3d_implicit_gemm_128, 4)
CONVOLVE(conv3d_implicit_gemm_64, 2)
