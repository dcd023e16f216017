//! The log-mel spectrogram of samples, each frame from what is already over (`MelSTFT`).

use candle_core::{Result, Tensor};
use ltx2_kernels::{conv1d, conv1d_strided};

use super::generator::MEL_BINS;
use crate::VarBuilder;

/// Quieter bins count as this.
const FLOOR: f32 = 1e-5;

/// A windowed Fourier transform and a mel filter bank, both from the checkpoint as they were in training.
#[derive(Debug)]
pub(super) struct MelStft {
    /// Cosines, then sines `(2 · frequencies, 1, n_fft)`.
    forward_basis: Tensor,
    /// As a convolution over frames `(64, frequencies, 1)`.
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

    /// `samples (b, c, l)` with `l` a multiple of the hop to `(b, c, l / hop, 64)`.
    pub(super) fn log_mel(&self, samples: &Tensor) -> Result<Tensor> {
        let (b, c, l) = samples.dims3()?;
        let past = self.forward_basis.dim(2)?.saturating_sub(self.hop_length);
        let flat = samples.reshape((b * c, 1, l))?.pad_with_zeros(2, past, 0)?;
        let spectrum = conv1d_strided(&flat, &self.forward_basis, self.hop_length)?;
        let parts = spectrum.chunk(2, 1)?;
        let magnitude = (parts[0].sqr()? + parts[1].sqr()?)?.sqrt()?;
        let mel = conv1d(&magnitude, &self.mel_basis, 0, 1)?;
        let (_, bins, frames) = mel.dims3()?;
        mel.maximum(FLOOR)?.log()?.reshape((b, c, bins, frames))?.transpose(2, 3)
    }
}
