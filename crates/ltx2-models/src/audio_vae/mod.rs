//! Audio autoencoder over stereo log-mel spectrograms: 4x compression in time and frequency, 8 latent channels (paper
//! section 3.2).

mod config;
mod decoder;
mod encoder;
mod layers;
mod log_mel;
mod resample;

pub use config::{AudioVaeConfig, LATENT_MEL_BINS, TIME_SCALE};
pub use decoder::AudioDecoder;
pub use encoder::AudioEncoder;
pub use log_mel::LogMel;
pub use resample::resample;
