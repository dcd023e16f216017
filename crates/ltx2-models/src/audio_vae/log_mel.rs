//! Log-mel spectrograms of audio samples (`AudioProcessor`).

use std::f64::consts::PI;

use candle_core::{Device, Result, Tensor};

use super::config::{AudioVaeConfig, N_FFT};

/// Lower limit of mel magnitudes before the logarithm.
const FLOOR: f32 = 1e-5;
/// Width of a mel below [`BREAK_HZ`] on the Slaney scale, Hz.
const LINEAR_HZ: f64 = 200.0 / 3.0;
/// Frequency above which the Slaney scale is logarithmic.
const BREAK_HZ: f64 = 1000.0;
/// Mels in which the frequency grows by a factor of 6.4 above [`BREAK_HZ`].
const MELS_PER_6_4: f64 = 27.0;

/// Magnitude spectrogram with a Hann window, centred frames and a Slaney mel filter bank.
#[derive(Debug)]
pub struct LogMel {
    /// Windowed cosines, then sines, `(1024, 2 · frequencies)`.
    basis: Tensor,
    /// Mel filter bank, `(frequencies, mel_bins)`.
    mel_basis: Tensor,
    hop_length: usize,
}

impl LogMel {
    /// Computes the Fourier basis and the filter bank for `config`, in float32.
    pub fn new(config: &AudioVaeConfig, device: &Device) -> Result<Self> {
        let frequencies = N_FFT / 2 + 1;
        let mel_basis = mel_filter_bank(config.sample_rate, frequencies, config.mel_bins);
        Ok(Self {
            basis: Tensor::from_vec(windowed_basis(), (N_FFT, 2 * frequencies), device)?,
            mel_basis: Tensor::from_vec(mel_basis, (frequencies, config.mel_bins), device)?,
            hop_length: config.hop_length,
        })
    }

    /// Samples `(1, channels, l)` at the rate of the config to the spectrogram `(1, channels, 1 + l / hop, mel_bins)`.
    ///
    /// # Errors
    ///
    /// If `l` is not more than half of the window.
    pub fn forward(&self, samples: &Tensor) -> Result<Tensor> {
        let (_, channels, length) = samples.dims3()?;
        let frames = 1 + length / self.hop_length;
        let mut log_mels = Vec::with_capacity(channels);
        for channel in samples.squeeze(0)?.to_vec2::<f32>()? {
            let windows = self.windows(&channel, frames)?;
            let spectrum = windows.matmul(&self.basis)?.chunk(2, 1)?;
            let magnitude = (spectrum[0].sqr()? + spectrum[1].sqr()?)?.sqrt()?;
            log_mels.push(magnitude.matmul(&self.mel_basis)?.maximum(FLOOR)?.log()?);
        }
        Tensor::stack(&log_mels, 0)?.unsqueeze(0)
    }

    /// Returns the samples around each frame, `(frames, n_fft)`, mirrored at both ends.
    fn windows(&self, channel: &[f32], frames: usize) -> Result<Tensor> {
        let (half, last) = (N_FFT / 2, channel.len().saturating_sub(1));
        if last < half {
            candle_core::bail!("{} audio samples are too few, expected at least {}", channel.len(), half + 1);
        }
        let mirrored = |i: usize| match i.checked_sub(half) {
            None => channel[half - i],
            Some(i) if i <= last => channel[i],
            Some(i) => channel[2 * last - i],
        };
        let windows = (0..frames).flat_map(|frame| (0..N_FFT).map(move |k| frame * self.hop_length + k));
        Tensor::from_vec(windows.map(mirrored).collect(), (frames, N_FFT), self.basis.device())
    }
}

/// Returns the rows `hann(k) · [cos(2πfk / 1024), …, sin(2πfk / 1024), …]` of the Fourier basis.
fn windowed_basis() -> Vec<f32> {
    let frequencies = N_FFT / 2 + 1;
    let turn = |i: usize| 2.0 * PI * (i % N_FFT) as f64 / N_FFT as f64;
    let row = |k: usize| {
        let window = 0.5 - 0.5 * turn(k).cos();
        let cosines = (0..frequencies).map(move |f| window * turn(f * k).cos());
        cosines.chain((0..frequencies).map(move |f| window * turn(f * k).sin()))
    };
    (0..N_FFT).flat_map(row).map(|value| value as f32).collect()
}

/// Returns triangular filters, equally spaced on the Slaney mel scale and of unit area in Hz, `(frequencies,
/// mel_bins)`.
fn mel_filter_bank(sample_rate: usize, frequencies: usize, mel_bins: usize) -> Vec<f32> {
    let nyquist = sample_rate as f64 / 2.0;
    let corners: Vec<f64> =
        (0..mel_bins + 2).map(|i| mel_to_hz(hz_to_mel(nyquist) * i as f64 / (mel_bins + 1) as f64)).collect();
    let filter = |hz: f64, bin: usize| {
        let (low, centre, high) = (corners[bin], corners[bin + 1], corners[bin + 2]);
        let rising = (hz - low) / (centre - low);
        let falling = (high - hz) / (high - centre);
        rising.min(falling).max(0.0) * 2.0 / (high - low)
    };
    (0..frequencies)
        .map(|i| nyquist * i as f64 / (frequencies - 1) as f64)
        .flat_map(|hz| (0..mel_bins).map(move |bin| (hz, bin)))
        .map(|(hz, bin)| filter(hz, bin) as f32)
        .collect()
}

fn hz_to_mel(hz: f64) -> f64 {
    match hz < BREAK_HZ {
        true => hz / LINEAR_HZ,
        false => BREAK_HZ / LINEAR_HZ + (hz / BREAK_HZ).ln() / 6.4f64.ln() * MELS_PER_6_4,
    }
}

fn mel_to_hz(mel: f64) -> f64 {
    let break_mel = BREAK_HZ / LINEAR_HZ;
    match mel < break_mel {
        true => mel * LINEAR_HZ,
        false => BREAK_HZ * ((mel - break_mel) / MELS_PER_6_4 * 6.4f64.ln()).exp(),
    }
}
