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
mod tiling;

pub use config::VideoVaeConfig;
pub use decoder::VideoDecoder;
pub use encoder::VideoEncoder;
pub use tiling::Tiling;

/// Frames that one latent frame stands for (the first one stands for one).
pub const TIME_SCALE: usize = 8;
/// Pixels that one latent cell stands for, in height and width.
pub const SPACE_SCALE: usize = 32;
