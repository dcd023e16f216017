//! Bandwidth extension (`VocoderWithBWE`): a second generator computes a residual from the spectrogram of the first
//! one's audio, which is added to that audio resampled to a higher rate.

use candle_core::{Result, Tensor};

use super::config::BandwidthExtensionConfig;
use super::generator::WaveformGenerator;
use super::resample::UpSample1d;
use super::stft::MelStft;
use crate::VarBuilder;

/// Bandwidth extension to a higher sampling rate.
#[derive(Debug)]
pub(super) struct BandwidthExtension {
    mel_stft: MelStft,
    bwe_generator: WaveformGenerator,
    resampler: UpSample1d,
    hop_length: usize,
    ratio: usize,
}

impl BandwidthExtension {
    /// Reads `mel_stft.*` and `bwe_generator.*`.
    pub(super) fn new(config: &BandwidthExtensionConfig, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            mel_stft: MelStft::new(config.n_fft, config.hop_length, vb.pp("mel_stft"))?,
            bwe_generator: WaveformGenerator::new(&config.generator, vb.pp("bwe_generator"))?,
            resampler: UpSample1d::new(config.ratio, vb.dtype(), vb.device())?,
            hop_length: config.hop_length,
            ratio: config.ratio,
        })
    }

    /// Samples `(b, 2, l)` to `(b, 2, l · ratio)` in [-1, 1].
    pub(super) fn forward(&self, samples: &Tensor) -> Result<Tensor> {
        let length = samples.dim(2)?;
        let padding = length.next_multiple_of(self.hop_length) - length;
        let samples = samples.pad_with_zeros(2, 0, padding)?;
        let residual = self.bwe_generator.forward(&self.mel_stft.log_mel(&samples)?)?;
        let sum = (residual + self.resampler.forward(&samples)?)?;
        sum.clamp(-1f32, 1f32)?.narrow(2, 0, length * self.ratio)
    }
}
