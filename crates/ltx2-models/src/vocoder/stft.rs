//! Causal log-mel spectrogram (`MelSTFT`).

use candle_core::{Result, Tensor};
use ltx2_kernels::{conv1d, conv1d_strided};

use super::config::MEL_BINS;
use crate::VarBuilder;

/// Lower limit of mel magnitudes before the logarithm.
const FLOOR: f32 = 1e-5;

/// Windowed Fourier transform and mel filter bank, both read from the checkpoint.
#[derive(Debug)]
pub(super) struct MelStft {
    /// Windowed cosines, then sines, `(2 · frequencies, 1, n_fft)`.
    forward_basis: Tensor,
    /// Mel filter bank as a convolution over frames, `(64, frequencies, 1)`.
    mel_basis: Tensor,
    hop_length: usize,
}

impl MelStft {
    /// Reads `mel_basis` and `stft_fn.forward_basis`.
    pub(super) fn new(n_fft: usize, hop_length: usize, vb: VarBuilder) -> Result<Self> {
        let frequencies = n_fft / 2 + 1;
        Ok(Self {
            forward_basis: vb.get((2 * frequencies, 1, n_fft), "stft_fn.forward_basis")?,
            mel_basis: vb.get((MEL_BINS, frequencies), "mel_basis")?.unsqueeze(2)?,
            hop_length,
        })
    }

    /// Samples `(b, c, l)` to `(b, c, l / hop, 64)`, where `l` is a multiple of the hop. No frame depends on later
    /// samples.
    pub(super) fn log_mel(&self, samples: &Tensor) -> Result<Tensor> {
        let (b, c, l) = samples.dims3()?;
        let left_padding = self.forward_basis.dim(2)?.saturating_sub(self.hop_length);
        let flat = samples.reshape((b * c, 1, l))?.pad_with_zeros(2, left_padding, 0)?;
        let spectrum = conv1d_strided(&flat, &self.forward_basis, self.hop_length)?;
        let real_imaginary = spectrum.chunk(2, 1)?;
        let magnitude = (real_imaginary[0].sqr()? + real_imaginary[1].sqr()?)?.sqrt()?;
        let mel = conv1d(&magnitude, &self.mel_basis, 0, 1)?;
        let (_, bins, frames) = mel.dims3()?;
        mel.maximum(FLOOR)?.log()?.reshape((b, c, bins, frames))?.transpose(2, 3)
    }
}
