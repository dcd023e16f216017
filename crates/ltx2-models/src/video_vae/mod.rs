//! The video autoencoder: 8x in time and 32x in height and width, 128 channels (paper section 3.1).
//!
//! Inside, video is frames-first, `(t, c, h, w)`: a 3-D convolution is then a few 2-D ones over slices that lie
//! contiguous in memory. Outside it is `(1, c, t, h, w)` as everywhere.

mod config;
mod conv;
mod decoder;
mod encoder;
mod resample;
mod resnet;
mod statistics;
mod tiling;

pub use config::VideoVaeConfig;
pub use decoder::VideoDecoder;
pub use encoder::VideoEncoder;
pub use statistics::PerChannelStatistics;
pub use tiling::Tiling;

use candle_core::{Result, Tensor};

/// Frames that one latent frame stands for (the first one stands for one).
pub const TIME_SCALE: usize = 8;
/// Pixels that one latent cell stands for, in height and width.
pub const SPACE_SCALE: usize = 32;

/// `(1, c, t, h, w)` to `(t, c, h, w)`.
pub(crate) fn frames_first(x: &Tensor) -> Result<Tensor> {
    x.squeeze(0)?.transpose(0, 1)?.contiguous()
}

/// `(t, c, h, w)` to `(1, c, t, h, w)`.
pub(crate) fn channels_first(x: &Tensor) -> Result<Tensor> {
    x.transpose(0, 1)?.unsqueeze(0)?.contiguous()
}
