// A 3-D convolution without a matrix of columns, on tensor cores from sm_80 on: bfloat16 in and out, float32 sums. Its window
// is 3x3, of any number of frames.
//
// A block has ROWS channels of the result at the PLACES places of a tile of one frame. At each step it has 32 channels of
// what the tile sees of one of the window's frames: each of that window's nine taps sees a tile's worth of it, further on by
// its own distance. The step's weights come by copies, three taps at a time, into two buffers, one read while the other
// fills; the next step's channels come through registers meanwhile, which turns them channels last.
//
// In shared memory eight channels of a place, or of a row of weights, are a piece of 16 bytes; places and rows are
// neighbours, and behind all of them are those of the next eight channels. So eight rows that are read at once fall into
// different banks wherever they begin, and a tap's distance is a sum.
#include "device.cuh"
#include "window.cuh"

namespace conv3d_tiles {

constexpr int WARPS = 8, THREADS = WARPS * 32, PLACES = 256, CHANNELS = 32, PIECES = CHANNELS / 8;
// What the largest tiles see: 8 by 32 and 32 by 8 places, and one more on each side.
constexpr int SEEN = 10 * 34, REST = SEEN - THREADS;
constexpr uint32_t PLANE_BYTES = SEEN * 16, STEP_BYTES = PIECES * PLANE_BYTES;
// A row of results, apart so far that eight rows' pairs fall into different banks.
constexpr uint32_t RESULT_BYTES = PLACES * 2 + 16;

// Of the result, its tiles' width as a power of two, and how many of its values can be read and written at once: 8 or 1.
struct Result {
    int32_t channels, height, width, across, at_once;
};

// Weights of three taps, in elements.
template <int ROWS>
constexpr int LINE = 3 * ROWS * CHANNELS;

// Of a block: twice what a step sees, and twice the weights of three taps. The results take their place.
template <int ROWS>
constexpr unsigned shared_bytes = 2 * STEP_BYTES + 2 * LINE<ROWS> * 2;

// A block's tile: its frame, first line and first column.
struct Tile {
    int frame, top, left, across;

    DEVICE explicit Tile(const Result &result) : frame(blockIdx.z), across(result.across) {
        const int columns = 1 << across, tiles = (result.width + columns - 1) >> across;
        top = static_cast<int>(blockIdx.x) / tiles * (PLACES >> across);
        left = static_cast<int>(blockIdx.x) % tiles * columns;
    }

    // Places in a line of what it sees.
    DEVICE int pitch() const { return (1 << across) + 2; }

    // Which value of a frame is at `place` of what it sees; -1 where zeros are.
    DEVICE int seen(int place, const window::Video &video, const window::Window &window) const {
        const int line = window::seen(top + place / pitch() - window.padding, video.height, window.mirrored);
        const int column = window::seen(left + place % pitch() - window.padding, video.width, window.mirrored);
        return line < 0 || column < 0 ? -1 : line * video.width + column;
    }
};

// Brings what a step sees, in six rounds of a piece for each thread: in the first four of the thread's own place, and in the
// others of one of the REST places that are left.
class Loader {
public:
    DEVICE Loader(const bf16 *x, const window::Video &video, const window::Window &window, const Tile &tile)
        : x(x), video(video), window(window), plane(video.height * video.width),
          first_frame(tile.frame), rest(static_cast<int>(threadIdx.x) / REST) {
        seen[0] = tile.seen(place_of(0), video, window);
        seen[1] = tile.seen(place_of(PIECES), video, window);
        aim();
    }

    // Turns to the next step.
    DEVICE void advance() {
        if (++frame == window.frames) {
            frame = 0;
            channel += CHANNELS;
        }
        aim();
    }

    // Nothing where there is no such channel, as after the last step.
    DEVICE void load(int round) {
        const int piece = piece_of(round), at = round < PIECES ? seen[0] : seen[1];
        const bf16 *value = from + static_cast<int64_t>(plane) * (piece * 8) + at;
        const bool exists = takes_part(round) && at >= 0 && channel + piece * 8 < video.channels;
        UNROLL for (int j = 0; j < 8; j++) values[j] = exists ? value[static_cast<int64_t>(plane) * j].bits : 0;
    }

    DEVICE void store(uint32_t step_at, int round) const {
        uint32_t pairs[4];
        UNROLL for (int j = 0; j < 4; j++) pairs[j] = values[2 * j] | static_cast<uint32_t>(values[2 * j + 1]) << 16;
        if (takes_part(round))
            store_shared(step_at + piece_of(round) * PLANE_BYTES + place_of(round) * 16, pairs);
    }

private:
    const bf16 *x;
    const window::Video &video;
    const window::Window &window;
    const int plane, first_frame, rest;
    // Which values of a frame are at this thread's two places.
    int seen[2];
    // The step's first channel, and its frame of the window.
    int channel = 0, frame = 0;
    const bf16 *from;
    uint16_t values[8];

    DEVICE void aim() {
        const int64_t seen_frame = window::frame(first_frame + frame, video, window);
        from = x + (seen_frame * video.channels + channel) * plane;
    }

    DEVICE static int place_of(int round) {
        const int thread = threadIdx.x;
        return round < PIECES ? thread : THREADS + thread % REST;
    }

    DEVICE int piece_of(int round) const { return round < PIECES ? round : round == PIECES ? rest : PIECES - 1; }

    // The fifth round brings three pieces of each place that is left, and the last one the fourth.
    DEVICE bool takes_part(int round) const { return round <= PIECES || rest == 0; }
};

// The warps are two rows of four. Each has TILES times 16 channels at 64 places.
template <int TILES>
struct Warp {
    static constexpr int ROWS = 2 * TILES * 16;
    // Of each 16 channels a lane has rows lane / 4 and lane / 4 + 8, of every 8 places two neighbours.
    float sum[TILES][8][4];
    int row, place;
    // Where this lane's rows of each 16 places begin in what a step sees, and its row of weights in those of a tap.
    uint32_t places[4], weights;

    DEVICE explicit Warp(const Tile &tile) {
        const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        row = warp / 4 * TILES * 16;
        place = warp % 4 * 64;
        UNROLL for (int m = 0; m < TILES; m++)
            UNROLL for (int n = 0; n < 8; n++)
                UNROLL for (int i = 0; i < 4; i++) sum[m][n][i] = 0.0f;
        UNROLL for (int n = 0; n < 4; n++) {
            const int at = place + n * 16 + lane % 8 + lane / 16 * 8;
            const int seen = (at >> tile.across) * tile.pitch() + (at & ((1 << tile.across) - 1));
            places[n] = lane / 8 % 2 * PLANE_BYTES + seen * 16;
        }
        weights = (lane / 16 * ROWS + row + lane % 16) * 16;
    }

    // sum += a tap's weights times what it sees
    DEVICE void multiply(uint32_t tap, uint32_t seen) {
        UNROLL for (int half = 0; half < 2; half++) {
            uint32_t a[TILES][4];
            UNROLL for (int m = 0; m < TILES; m++)
                load_matrices(a[m], tap + weights + (half * 2 * ROWS + m * 16) * 16);
            UNROLL for (int n = 0; n < 4; n++) {
                uint32_t b[4];
                load_matrices(b, seen + places[n] + half * 2 * PLANE_BYTES);
                UNROLL for (int m = 0; m < TILES; m++) {
                    multiply_add(sum[m][2 * n], a[m], b[0], b[1]);
                    multiply_add(sum[m][2 * n + 1], a[m], b[2], b[3]);
                }
            }
        }
    }

    // Puts the sums where all threads can read them.
    DEVICE void share(uint32_t to) const {
        const int lane = threadIdx.x % 32;
        to += (row + lane / 4) * RESULT_BYTES + (place + lane % 4 * 2) * 2;
        UNROLL for (int m = 0; m < TILES; m++)
            UNROLL for (int n = 0; n < 8; n++)
                UNROLL for (int half = 0; half < 2; half++)
                    store_shared(to + (m * 16 + half * 8) * RESULT_BYTES + n * 16,
                                 pack_bf16(sum[m][n][2 * half], sum[m][n][2 * half + 1]));
    }
};

// The sum of a product with what is added to it, rounded where the plain form in conv3d.rs rounds.
DEVICE bf16 finished(uint32_t product, float offset, const bf16 *added) {
    bf16 sum = round_to<bf16>(add_rn(bits_to_float(product << 16), offset));
    return added == nullptr ? sum : round_to<bf16>(add_rn(to_float(*added), to_float(sum)));
}

// Writes the block's results, which lie at `from` in rows from channel `first` on, with the bias and what else is added.
template <int ROWS>
DEVICE void write(uint32_t from, const bf16 *bias, const bf16 *added, bf16 *out, const Tile &tile, const Result &result,
                  int first) {
    using P = Pack<bf16, 8>;
    constexpr int PACKS = PLACES / 8;
    const int pack = threadIdx.x % PACKS, place = pack * 8;
    const int line = tile.top + (place >> tile.across), column = tile.left + (place & ((1 << tile.across) - 1));
    if (line >= result.height || column >= result.width) return;
    for (int row = threadIdx.x / PACKS; row < ROWS && first + row < result.channels; row += THREADS / PACKS) {
        const int64_t plane = static_cast<int64_t>(tile.frame) * result.channels + first + row;
        const int64_t at = (plane * result.height + line) * result.width + column;
        const float offset = to_float(bias[first + row]);
        uint32_t pairs[4];
        load_shared(pairs, from + row * RESULT_BYTES + pack * 16);
        P sum, other;
        if (added != nullptr && result.at_once == 8) other = *reinterpret_cast<const P *>(added + at);
        UNROLL for (int j = 0; j < 8; j++) {
            const bool exists = column + j < result.width;
            if (added != nullptr && result.at_once != 8 && exists) other.at[j] = added[at + j];
            const uint32_t product = j % 2 == 0 ? pairs[j / 2] & 0xffff : pairs[j / 2] >> 16;
            sum.at[j] = finished(product, offset, added == nullptr ? nullptr : &other.at[j]);
            if (result.at_once != 8 && exists) out[at + j] = sum.at[j];
        }
        if (result.at_once == 8) *reinterpret_cast<P *>(out + at) = sum;
    }
}

template <int TILES>
DEVICE void convolve(const bf16 *x, const bf16 *weights, const bf16 *bias, const bf16 *added, bf16 *out,
                     const window::Video &video, const window::Window &window, const Result &result) {
    constexpr int ROWS = Warp<TILES>::ROWS;
    const uint32_t seen_at = shared_base(), weights_at = seen_at + 2 * STEP_BYTES;
    const Tile tile(result);
    const int steps = (video.channels + CHANNELS - 1) / CHANNELS * window.frames;
    // This thread's pieces of those of the block.
    weights += static_cast<int64_t>(blockIdx.y) * steps * 3 * LINE<ROWS> + threadIdx.x * 8;
    // Of lines only whether their number is even counts, and that of 3 step + down is as that of step + down.
    auto copy_line = [&](int line) {
        const uint32_t to = weights_at + line % 2 * LINE<ROWS> * 2 + threadIdx.x * 16;
        UNROLL for (int i = 0; i < LINE<ROWS> / 8; i += THREADS) copy_async(to + i * 16, weights + i * 8, true);
        copy_commit();
        weights += LINE<ROWS>;
    };
    copy_line(0);
    Loader loader(x, video, window, tile);
    ROLLED for (int round = 0; round < 6; round++) {
        loader.load(round);
        loader.store(seen_at, round);
    }

    Warp<TILES> warp(tile);
    const int first = blockIdx.y * ROWS;
    const bool idle = first + warp.row >= result.channels || tile.top + (warp.place >> tile.across) >= result.height;
    auto go_through = [&](auto multiply) {
        for (int step = 0; step < steps; step++) {
            loader.advance();
            const uint32_t next = seen_at + (step + 1) % 2 * STEP_BYTES;
            ROLLED for (int down = 0; down < 3; down++) {
                copy_wait<0>();
                // These weights and what this step sees have arrived for all, and none still reads what fills next.
                __syncthreads();
                if (step + 1 < steps || down < 2) copy_line(step + down + 1);
                const uint32_t seen = seen_at + step % 2 * STEP_BYTES + down * tile.pitch() * 16;
                const uint32_t taps = weights_at + (step + down) % 2 * LINE<ROWS> * 2;
                // Without a branch in between, so that the loads' values are first waited for behind the products.
                UNROLL for (int tap = 0; tap < 3; tap++) {
                    if (tap < 2) loader.load(2 * down + tap);
                    multiply(taps + tap * ROWS * CHANNELS * 2, seen + tap * 16);
                    if (tap < 2) loader.store(next, 2 * down + tap);
                }
            }
        }
    };
    if (idle) go_through([](uint32_t, uint32_t) {});
    else go_through([&](uint32_t taps, uint32_t seen) { warp.multiply(taps, seen); });
    __syncthreads();
    warp.share(seen_at);
    __syncthreads();
    write<ROWS>(seen_at, bias, added, out, tile, result, first);
}

}  // namespace conv3d_tiles

// `x (frames, channels, height, width)` to `out (frames, result's channels, height, width)`; `weights` are in the order
// (channels of the result / rows, channels / 32, taps, 4, rows, 8), with zeros where there is no channel. `added` may be null.
// Grid: tiles of a frame; channels of the result over rows, rounded up; frames.
#define CONVOLVE(name, tiles)                                                                                          \
    extern "C" __global__ void THREADS_PER_BLOCK(conv3d_tiles::THREADS)                                                \
        name(const bf16 *x, const bf16 *weights, const bf16 *bias, const bf16 *added, bf16 *out, window::Video video,  \
             window::Window window, conv3d_tiles::Result result) {                                                     \
        conv3d_tiles::convolve<tiles>(x, weights, bias, added, out, video, window, result);                            \
    }

CONVOLVE(conv3d_tiles_128, 4)
CONVOLVE(conv3d_tiles_64, 2)
