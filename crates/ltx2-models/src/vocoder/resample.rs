//! Resampling of samples by a windowed sinc: between the rates of the bandwidth extension (`UpSample1d` with a Hann
//! window), and by two around the periodic activations (`kaiser_sinc_filter1d`).

use std::f64::consts::PI;

use candle_core::{DType, Device, Result, Tensor};
use ltx2_kernels::depthwise_conv_transpose1d;
use ltx2_kernels::snake::SNAKE_TAPS;

/// Zero crossings of the sinc on either side.
const CROSSINGS: f64 = 6.0;
/// Where the passband ends, as a part of half the lower rate.
const ROLLOFF: f64 = 0.99;

/// A whole number of times more samples. The filter is in no file.
#[derive(Debug)]
pub(super) struct UpSample1d {
    filter: Tensor,
    ratio: usize,
    /// Input samples that the filter reaches to either side.
    width: usize,
}

impl UpSample1d {
    pub(super) fn new(ratio: usize, dtype: DType, device: &Device) -> Result<Self> {
        let width = (CROSSINGS / ROLLOFF).ceil() as usize;
        let taps: Vec<f32> = (0..=2 * width * ratio)
            .map(|k| {
                let time = (k as f64 / ratio as f64 - width as f64) * ROLLOFF;
                let window = (time.clamp(-CROSSINGS, CROSSINGS) * PI / CROSSINGS / 2.0).cos().powi(2);
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
        let whole = (depthwise_conv_transpose1d(&x, &self.filter, self.ratio)? * self.ratio as f64)?;
        whole.narrow(2, 2 * self.width * self.ratio, length * self.ratio)
    }
}

/// Shape of the Kaiser window, which follows from the length of the filter and from a stopband that begins at 0.3 above
/// the cutoff (Kaiser's formula for the attenuation that this leaves).
const KAISER_BETA: f64 = 0.1102 * (2.285 * (SNAKE_TAPS / 2 - 1) as f64 * PI * 1.2 + 7.95 - 8.7);

/// The low-pass filter of all anti-aliased activations, up and down: a quarter of the doubled rate. Checkpoints hold it
/// in bfloat16 under `*.filter`; this is for checkpoints made of synthetic weights.
pub fn anti_aliasing_filter() -> [f32; SNAKE_TAPS] {
    let side = SNAKE_TAPS as f64 / 2.0 - 0.5;
    let taps: [f64; SNAKE_TAPS] = std::array::from_fn(|k| {
        let time = k as f64 - side;
        let window = bessel_i0(KAISER_BETA * (1.0 - (time / side).powi(2)).max(0.0).sqrt());
        window * (PI * time / 2.0).sin() / (PI * time / 2.0)
    });
    let sum: f64 = taps.iter().sum();
    taps.map(|tap| (tap / sum) as f32)
}

/// The modified Bessel function of order zero, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let terms = (1..40).scan(1.0, |term, k| {
        *term *= (x / 2.0 / k as f64).powi(2);
        Some(*term)
    });
    1.0 + terms.sum::<f64>()
}
