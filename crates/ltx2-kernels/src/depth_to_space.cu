// Channels to frames, rows and columns, plus the same of another tensor; rounded where the plain form in depth_to_space.rs
// rounds.
#include "device.cuh"

namespace depth_to_space {

// A frame as it was, how many of each direction become of one, and how many of the first frames go.
struct Shape {
    int32_t height, width, frames_of_one, rows_of_one, columns_of_one, skipped;
};

// A block's y is a channel of the result, its z a frame. `added`, if there is one, has `added_channels` channels when grown,
// which are repeated.
template <typename T>
DEVICE void grow(const T *x, const T *added, T *out, Shape shape, int added_channels) {
    const int width = shape.width * shape.columns_of_one, pixels = shape.height * shape.rows_of_one * width;
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pixels) return;
    const int row = i / width, column = i % width, frame = blockIdx.z + shape.skipped;
    const int share = (frame % shape.frames_of_one * shape.rows_of_one + row % shape.rows_of_one) * shape.columns_of_one +
                      column % shape.columns_of_one;
    const int shares = shape.frames_of_one * shape.rows_of_one * shape.columns_of_one;
    const int64_t pixel = row / shape.rows_of_one * shape.width + column / shape.columns_of_one;
    auto value = [&](const T *from, int channels, int channel) {
        const int64_t plane = (static_cast<int64_t>(frame / shape.frames_of_one) * channels + channel) * shares + share;
        return from[plane * shape.height * shape.width + pixel];
    };
    const int channels = gridDim.y, channel = blockIdx.y;
    T sum = value(x, channels, channel);
    if (added != nullptr)
        sum = round_to<T>(add_rn(to_float(sum), to_float(value(added, added_channels, channel % added_channels))));
    out[(static_cast<int64_t>(blockIdx.z) * channels + channel) * pixels + i] = sum;
}

}  // namespace depth_to_space

// Grid: pixels of the result over threads, rounded up; its channels; its frames.
#define DEPTH_TO_SPACE(name, T)                                                                                        \
    extern "C" __global__ void name(const T *x, const T *added, T *out, depth_to_space::Shape shape,                   \
                                    int32_t added_channels) {                                                          \
        depth_to_space::grow<T>(x, added, out, shape, added_channels);                                                 \
    }

DEPTH_TO_SPACE(depth_to_space_bf16, bf16)
DEPTH_TO_SPACE(depth_to_space_f32, float)
