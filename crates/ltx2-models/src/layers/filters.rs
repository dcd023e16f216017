//! Windowed-sinc filters that no checkpoint needs to store (`resample.py`: Hann-windowed `UpSample1d`,
//! `kaiser_sinc_filter1d`).

use std::f64::consts::PI;

use ltx2_kernels::snake::SNAKE_TAPS;

/// Zero crossings of the sinc on each side of the centre.
const ZERO_CROSSINGS: f64 = 6.0;
/// End of the passband as a fraction of the lower Nyquist frequency.
const ROLLOFF: f64 = 0.99;

/// Hann-windowed low-pass filter for upsampling by an integer ratio.
pub(crate) struct HannSincFilter {
    /// Filter taps, `2 · width · ratio + 1` of them, with a sum of about 1.
    pub taps: Vec<f32>,
    /// Number of input samples that the filter covers on each side.
    pub width: usize,
}

/// Returns the filter that upsamples by `ratio`.
pub(crate) fn hann_sinc_filter(ratio: usize) -> HannSincFilter {
    let width = (ZERO_CROSSINGS / ROLLOFF).ceil() as usize;
    let taps = (0..=2 * width * ratio)
        .map(|k| {
            let time = (k as f64 / ratio as f64 - width as f64) * ROLLOFF;
            let window = (time.clamp(-ZERO_CROSSINGS, ZERO_CROSSINGS) * PI / ZERO_CROSSINGS / 2.0).cos().powi(2);
            let sinc = if time == 0.0 { 1.0 } else { (PI * time).sin() / (PI * time) };
            (sinc * window * ROLLOFF / ratio as f64) as f32
        })
        .collect();
    HannSincFilter { taps, width }
}

/// Shape parameter of the Kaiser window, by Kaiser's attenuation formula from the filter length and a transition band
/// that ends at 0.3 above the cutoff.
const KAISER_BETA: f64 = 0.1102 * (2.285 * (SNAKE_TAPS / 2 - 1) as f64 * PI * 1.2 + 7.95 - 8.7);

/// Returns the low-pass filter of all anti-aliased activations, up and down, with its cutoff at a quarter of the doubled
/// sampling rate.
///
/// Checkpoints store it in bfloat16 under `*.filter`. Checkpoints with synthetic weights use this one.
pub fn anti_aliasing_filter() -> [f32; SNAKE_TAPS] {
    let center = SNAKE_TAPS as f64 / 2.0 - 0.5;
    let taps: [f64; SNAKE_TAPS] = std::array::from_fn(|k| {
        let time = k as f64 - center;
        let window = bessel_i0(KAISER_BETA * (1.0 - (time / center).powi(2)).max(0.0).sqrt());
        window * (PI * time / 2.0).sin() / (PI * time / 2.0)
    });
    let sum: f64 = taps.iter().sum();
    taps.map(|tap| (tap / sum) as f32)
}

/// Modified Bessel function of the first kind of order zero, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let terms = (1..40).scan(1.0, |term, k| {
        *term *= (x / 2.0 / k as f64).powi(2);
        Some(*term)
    });
    1.0 + terms.sum::<f64>()
}
