// im2col matrix of a slice of a 3-D convolution's output. Values are only moved, so only their size matters.
#include "conv3d/window.cuh"
#include "device.cuh"

namespace im2col {

// Slice of the output: `rows` rows from `first_row` on, in the frames from `first_frame` on.
struct Slice {
    int32_t first_frame, first_row, rows, width;
};

// blockIdx.y is an input channel and a window frame, blockIdx.z a frame of the slice. A thread has N neighbours of a
// row.
template <typename T, int N>
DEVICE void gather(const T *x, T *out, window::Video video, window::Window window, Slice slice) {
    const int vectors = slice.width / N, i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= slice.rows * vectors) return;
    const int row = slice.first_row + i / vectors - window.padding, column = i % vectors * N - window.padding;
    const int padded_frame = slice.first_frame + blockIdx.z + blockIdx.y % window.frames;
    const int64_t frame = window::source_frame(padded_frame, video, window);
    const int64_t channel = blockIdx.y / window.frames;
    const T *plane = x + (frame * video.channels + channel) * video.height * video.width;
    const int64_t length = static_cast<int64_t>(slice.rows) * slice.width;
    const int64_t first = (static_cast<int64_t>(blockIdx.z) * gridDim.y + blockIdx.y) * window.height * window.width;
    T *to = out + first * length + static_cast<int64_t>(i) * N;
    for (int dy = 0; dy < window.height; dy++) {
        const int y = window::source_index(row + dy, video.height, window.reflect);
        const T *values = plane + static_cast<int64_t>(y) * video.width;
        auto value = [&](int at) {
            const int source = window::source_index(column + at, video.width, window.reflect);
            return y >= 0 && source >= 0 ? values[source] : T(0);
        };
        // The next tap of a row needs one new value.
        Vector<T, N> vector;
        UNROLL for (int j = 1; j < N; j++) vector.at[j] = value(j - 1);
        for (int dx = 0; dx < window.width; dx++, to += length) {
            UNROLL for (int j = 0; j < N - 1; j++) vector.at[j] = vector.at[j + 1];
            vector.at[N - 1] = value(dx + N - 1);
            *reinterpret_cast<Vector<T, N> *>(to) = vector;
        }
    }
}

}  // namespace im2col

// `x (frames, channels, height, width)` to `out (slice frames, channels · window, slice rows · width)`. The suffix is
// the number of bits of a value and of values per vector, which must divide slice.width. Grid: vectors of a frame's
// slice over threads, rounded up; channels · window frames; slice frames.
#define IM2COL(name, T, N)                                                                                             \
    extern "C" __global__ void name(const T *x, T *out, window::Video video, window::Window window,                    \
                                    im2col::Slice slice) {                                                             \
        im2col::gather<T, N>(x, out, video, window, slice);                                                            \
    }

IM2COL(im2col_16x8, uint16_t, 8)
IM2COL(im2col_16x1, uint16_t, 1)
IM2COL(im2col_32x4, uint32_t, 4)
IM2COL(im2col_32x1, uint32_t, 1)
