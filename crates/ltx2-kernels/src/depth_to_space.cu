// Depth to space and time, plus the same of an optional residual, rounded where depth_to_space.rs rounds.
#include "device.cuh"

namespace depth_to_space {

// Height and width of the input; stride in time, height and width; frames skipped at the start.
struct Shape {
    int32_t height, width, stride_t, stride_h, stride_w, skipped;
};

// blockIdx.y is a channel of the result, blockIdx.z a frame. The `residual_channels` channels of the rearranged
// residual are repeated.
template <typename T>
DEVICE void rearrange(const T *x, const T *residual, T *out, Shape shape, int residual_channels) {
    const int width = shape.width * shape.stride_w, pixels = shape.height * shape.stride_h * width;
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pixels) return;
    const int row = i / width, column = i % width, frame = blockIdx.z + shape.skipped;
    const int offset =
        (frame % shape.stride_t * shape.stride_h + row % shape.stride_h) * shape.stride_w + column % shape.stride_w;
    const int volume = shape.stride_t * shape.stride_h * shape.stride_w;
    const int64_t pixel = row / shape.stride_h * shape.width + column / shape.stride_w;
    auto value = [&](const T *from, int channels, int channel) {
        const int64_t plane = (static_cast<int64_t>(frame / shape.stride_t) * channels + channel) * volume + offset;
        return from[plane * shape.height * shape.width + pixel];
    };
    const int channels = gridDim.y, channel = blockIdx.y;
    T sum = value(x, channels, channel);
    if (residual != nullptr)
        sum = round_to<T>(
            add_rn(to_float(sum), to_float(value(residual, residual_channels, channel % residual_channels))));
    out[(static_cast<int64_t>(blockIdx.z) * channels + channel) * pixels + i] = sum;
}

}  // namespace depth_to_space

// `residual` may be null. Grid: pixels of the result over threads, rounded up; its channels; its frames.
#define DEPTH_TO_SPACE(name, T)                                                                                        \
    extern "C" __global__ void name(const T *x, const T *residual, T *out, depth_to_space::Shape shape,                \
                                    int32_t residual_channels) {                                                       \
        depth_to_space::rearrange<T>(x, residual, out, shape, residual_channels);                                      \
    }

DEPTH_TO_SPACE(depth_to_space_bf16, bf16)
DEPTH_TO_SPACE(depth_to_space_f32, float)
