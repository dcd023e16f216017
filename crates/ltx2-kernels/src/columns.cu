// What a 3-D convolution multiplies its weights by, a row for each weight. Values are only moved, so only their size counts.
#include "device.cuh"
#include "window.cuh"

namespace columns {

// Which results: from frame `first` on, and of those `height` lines from `top` on, each `width` long.
struct Part {
    int32_t first, top, height, width;
};

// A block's y is a channel and a frame of the window, its z a frame of the part. A thread has N neighbours of a line.
template <typename T, int N>
DEVICE void gather(const T *x, T *out, window::Video video, window::Window window, Part part) {
    const int packs = part.width / N, i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= part.height * packs) return;
    const int line = part.top + i / packs - window.padding, column = i % packs * N - window.padding;
    const int64_t frame = window::frame(part.first + blockIdx.z + blockIdx.y % window.frames, video, window);
    const int64_t channel = blockIdx.y / window.frames;
    const T *from = x + (frame * video.channels + channel) * video.height * video.width;
    const int64_t length = static_cast<int64_t>(part.height) * part.width;
    const int64_t row = (static_cast<int64_t>(blockIdx.z) * gridDim.y + blockIdx.y) * window.height * window.width;
    T *to = out + row * length + static_cast<int64_t>(i) * N;
    for (int dy = 0; dy < window.height; dy++) {
        const int down = window::seen(line + dy, video.height, window.mirrored);
        const T *values = from + static_cast<int64_t>(down) * video.width;
        auto value = [&](int at) {
            const int across = window::seen(column + at, video.width, window.mirrored);
            return down >= 0 && across >= 0 ? values[across] : T(0);
        };
        // One place further, a line has one new value.
        Pack<T, N> pack;
        UNROLL for (int j = 1; j < N; j++) pack.at[j] = value(j - 1);
        for (int dx = 0; dx < window.width; dx++, to += length) {
            UNROLL for (int j = 0; j < N - 1; j++) pack.at[j] = pack.at[j + 1];
            pack.at[N - 1] = value(dx + N - 1);
            *reinterpret_cast<Pack<T, N> *>(to) = pack;
        }
    }
}

}  // namespace columns

// `x (frames, channels, height, width)` to `out (part's frames, channels · window, part's lines and columns)`; the name says
// how many bits a value has, and how many values of a line a thread writes at once: that has to divide part.width.
#define COLUMNS(name, T, N)                                                                                            \
    extern "C" __global__ void name(const T *x, T *out, window::Video video, window::Window window,                    \
                                    columns::Part part) {                                                              \
        columns::gather<T, N>(x, out, video, window, part);                                                            \
    }

COLUMNS(columns_16x8, uint16_t, 8)
COLUMNS(columns_16x1, uint16_t, 1)
COLUMNS(columns_32x4, uint32_t, 4)
COLUMNS(columns_32x1, uint32_t, 1)
