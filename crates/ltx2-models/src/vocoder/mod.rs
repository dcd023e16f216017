//! Vocoder from log-mel spectrograms to stereo audio: the HiFi-GAN generator of LTX-2 (`Vocoder`), or the BigVGAN
//! generator of LTX-2.3 with a bandwidth extension (`VocoderWithBWE`).

mod activation;
mod bandwidth;
mod config;
mod generator;
mod layers;
mod resample;
mod resblock;
mod stft;

use candle_core::{DType, Result, Tensor};

use bandwidth::BandwidthExtension;
pub use config::VocoderConfig;
use generator::WaveformGenerator;

use crate::VarBuilder;

/// Vocoder of either generation.
#[derive(Debug)]
pub struct Vocoder {
    generator: WaveformGenerator,
    extension: Option<BandwidthExtension>,
    dtype: DType,
}

impl Vocoder {
    /// Reads `vocoder.*`. All computation, including the bandwidth extension, is in the dtype of `vb`, which should be
    /// [`VocoderConfig::dtype`].
    pub fn new(config: &VocoderConfig, vb: VarBuilder) -> Result<Self> {
        let (dtype, vb) = (vb.dtype(), vb.pp("vocoder"));
        let (generator, extension) = match &config.extension {
            None => (WaveformGenerator::new(&config.generator, vb)?, None),
            Some(extension) => (
                WaveformGenerator::new(&config.generator, vb.pp("vocoder"))?,
                Some(BandwidthExtension::new(extension, vb)?),
            ),
        };
        Ok(Self { generator, extension, dtype })
    }

    /// Log-mel spectrogram `(1, 2, t, 64)` to samples `(1, 2, l)` in [-1, 1] at
    /// [`VocoderConfig::output_sampling_rate`], in the dtype of `mel`.
    pub fn forward(&self, mel: &Tensor) -> Result<Tensor> {
        let samples = self.generator.forward(&mel.to_dtype(self.dtype)?)?;
        let samples = match &self.extension {
            None => samples,
            Some(extension) => extension.forward(&samples)?,
        };
        samples.to_dtype(mel.dtype())
    }
}
