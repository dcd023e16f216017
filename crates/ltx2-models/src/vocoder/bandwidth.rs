//! The upper frequencies: a second generator listens to the first one's samples and corrects their resampling to a
//! higher rate (`VocoderWithBWE`).

use candle_core::{Result, Tensor};

use super::config::ExtensionConfig;
use super::generator::Generator;
use super::resample::UpSample1d;
use super::stft::MelStft;
use crate::VarBuilder;

/// The bandwidth extension.
#[derive(Debug)]
pub(super) struct BandwidthExtension {
    mel_stft: MelStft,
    bwe_generator: Generator,
    resampler: UpSample1d,
    hop_length: usize,
    ratio: usize,
}

impl BandwidthExtension {
    /// Reads `mel_stft.*` and `bwe_generator.*`.
    pub(super) fn new(config: &ExtensionConfig, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            mel_stft: MelStft::new(config.n_fft, config.hop_length, vb.pp("mel_stft"))?,
            bwe_generator: Generator::new(&config.generator, vb.pp("bwe_generator"))?,
            resampler: UpSample1d::new(config.ratio, vb.dtype(), vb.device())?,
            hop_length: config.hop_length,
            ratio: config.ratio,
        })
    }

    /// `samples (b, 2, l)` to `(b, 2, l · ratio)` in [-1, 1].
    pub(super) fn forward(&self, samples: &Tensor) -> Result<Tensor> {
        let length = samples.dim(2)?;
        let missing = length.next_multiple_of(self.hop_length) - length;
        let samples = samples.pad_with_zeros(2, 0, missing)?;
        let residual = self.bwe_generator.forward(&self.mel_stft.log_mel(&samples)?)?;
        let sum = (residual + self.resampler.forward(&samples)?)?;
        sum.clamp(-1f32, 1f32)?.narrow(2, 0, length * self.ratio)
    }
}
