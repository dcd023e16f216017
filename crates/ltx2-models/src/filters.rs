//! Anti-aliasing filter of the vocoder, for synthetic weights.

use std::f64::consts::PI;

use ltx2_kernels::snake::SNAKE_TAPS;

/// Shape parameter of the Kaiser window, by Kaiser's attenuation formula from the filter length and a transition band
/// that ends at 0.3 above the cutoff.
const KAISER_BETA: f64 = 0.1102 * (2.285 * (SNAKE_TAPS / 2 - 1) as f64 * PI * 1.2 + 7.95 - 8.7);

/// Low-pass filter of the upsampling and the downsampling of all anti-aliased activations (`kaiser_sinc_filter1d`). Its
/// cutoff is a quarter of the doubled sampling rate.
///
/// Published checkpoints store it in bfloat16 under `*.filter`. Synthetic checkpoints use this one.
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
