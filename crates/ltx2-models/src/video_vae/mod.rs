//! Video autoencoder: 8x compression in time and 32x in height and width, 128 latent channels (paper section 3.1).
//!
//! The layers work frames-first, `(t, c, h, w)`, so that a 3-D convolution becomes a few 2-D convolutions over
//! contiguous slices. Inputs and outputs are `(1, c, t, h, w)`.

mod config;
mod conv;
mod decoder;
mod encoder;
mod resample;
mod resnet;
mod tiling;

pub use config::{SPACE_SCALE, TIME_SCALE, VideoVaeConfig};
pub use decoder::VideoDecoder;
pub use encoder::VideoEncoder;
pub use tiling::Tiling;
