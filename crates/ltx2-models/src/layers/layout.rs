//! Memory layouts of a video tensor.
//!
//! The convolutional networks work frames-first, so that a 3-D convolution becomes a few 2-D convolutions over
//! contiguous slices. Their inputs and outputs have the official layout, `(1, c, t, h, w)`.

use candle_core::{Result, Tensor};

/// `(1, c, t, h, w)` to `(t, c, h, w)`.
pub(crate) fn frames_first(x: &Tensor) -> Result<Tensor> {
    x.squeeze(0)?.transpose(0, 1)?.contiguous()
}

/// `(t, c, h, w)` to `(1, c, t, h, w)`.
pub(crate) fn channels_first(x: &Tensor) -> Result<Tensor> {
    x.transpose(0, 1)?.unsqueeze(0)?.contiguous()
}
