// Padding of video for a 3-D convolution's window, as index arithmetic.
#pragma once

#include "device.cuh"

namespace window {

struct Video {
    int32_t frames, channels, height, width;
};

// Window size and padding. Frames before the video are copies of its first frame (`before` of them), frames after it
// copies of its last one. Around each frame are `padding` zeros, or mirrored rows and columns if `reflect`.
struct Window {
    int32_t frames, height, width, before, padding, reflect;
};

// Index of the video frame at index `at` of the padded frames.
DEVICE int source_frame(int at, const Video &video, const Window &window) {
    at -= window.before;
    return at < 0 ? 0 : at < video.frames ? at : video.frames - 1;
}

// Index of the row or column at `at`, which may be outside of [0, size); -1 for a padding zero.
DEVICE int source_index(int at, int size, bool reflect) {
    if (reflect) at = at < 0 ? -at : at >= size ? 2 * (size - 1) - at : at;
    return at >= 0 && at < size ? at : -1;
}

}  // namespace window
