//! The audio autoencoder over stereo log-mel spectrograms: 4x in time and frequency, 8 channels (paper section 3.2).

mod config;
mod decoder;

pub use config::AudioVaeConfig;
pub use decoder::AudioDecoder;

/// Mel frames that one latent frame stands for (the first one stands for one).
pub const TIME_SCALE: usize = 4;
/// Mel bins of a latent frame.
pub const LATENT_MEL_BINS: usize = 16;
