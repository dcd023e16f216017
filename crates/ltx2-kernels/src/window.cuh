// What the window of a 3-D convolution sees of a video.
#pragma once

#include "device.cuh"

namespace window {

struct Video {
    int32_t frames, channels, height, width;
};

// Before the video's first frame stand `before` copies of it, and after its last one as many as are asked for; around each
// frame are `padding` zeros, or mirrored rows and columns.
struct Window {
    int32_t frames, height, width, before, padding, mirrored;
};

// The frame that is seen at `at` of the padded ones.
DEVICE int frame(int at, const Video &video, const Window &window) {
    at -= window.before;
    return at < 0 ? 0 : at < video.frames ? at : video.frames - 1;
}

// The row or column that is seen at `at`, of `size`; -1 where zeros are.
DEVICE int seen(int at, int size, bool mirrored) {
    if (mirrored) at = at < 0 ? -at : at >= size ? 2 * (size - 1) - at : at;
    return at >= 0 && at < size ? at : -1;
}

}  // namespace window
