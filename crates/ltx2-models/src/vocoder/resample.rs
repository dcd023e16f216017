//! Upsampling of audio samples by an integer ratio (`UpSample1d` with a Hann window).

use std::f64::consts::PI;

use candle_core::{DType, Device, Result, Tensor};
use ltx2_kernels::depthwise_conv_transpose1d;

/// Zero crossings of the sinc on each side of the centre.
const ZERO_CROSSINGS: f64 = 6.0;
/// End of the passband as a fraction of the lower Nyquist frequency.
const ROLLOFF: f64 = 0.99;

/// Windowed-sinc upsampler. Its filter is computed, not read from a checkpoint.
#[derive(Debug)]
pub(super) struct UpSample1d {
    /// `(1, 1, 2 · width · ratio + 1)`.
    filter: Tensor,
    ratio: usize,
    /// Number of input samples that the filter covers on each side.
    width: usize,
}

impl UpSample1d {
    pub(super) fn new(ratio: usize, dtype: DType, device: &Device) -> Result<Self> {
        let width = (ZERO_CROSSINGS / ROLLOFF).ceil() as usize;
        let taps: Vec<f32> = (0..=2 * width * ratio)
            .map(|k| {
                let time = (k as f64 / ratio as f64 - width as f64) * ROLLOFF;
                let window = (time.clamp(-ZERO_CROSSINGS, ZERO_CROSSINGS) * PI / ZERO_CROSSINGS / 2.0).cos().powi(2);
                let sinc = if time == 0.0 { 1.0 } else { (PI * time).sin() / (PI * time) };
                (sinc * window * ROLLOFF / ratio as f64) as f32
            })
            .collect();
        let filter = Tensor::from_vec(taps, (1, 1, 2 * width * ratio + 1), device)?.to_dtype(dtype)?;
        Ok(Self { filter, ratio, width })
    }

    /// `(b, c, l)` to `(b, c, l · ratio)`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let length = x.dim(2)?;
        let x = x.pad_with_same(2, self.width, self.width)?;
        let full = (depthwise_conv_transpose1d(&x, &self.filter, self.ratio)? * self.ratio as f64)?;
        full.narrow(2, 2 * self.width * self.ratio, length * self.ratio)
    }
}
