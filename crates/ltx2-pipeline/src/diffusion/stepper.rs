//! Steps between noise levels (`EulerDiffusionStep`, `Res2sDiffusionStep`).

use candle_core::{Result, Tensor};

/// Returns the velocity from `denoised` at noise level 0 to `sample` at `sigma`, per unit of noise level.
pub fn velocity(sample: &Tensor, denoised: &Tensor, sigma: f32) -> Result<Tensor> {
    (sample - denoised)? / f64::from(sigma)
}

/// Returns `sample` after a first-order step from `sigma` to `sigma_next` along its velocity.
pub fn euler_step(sample: &Tensor, denoised: &Tensor, sigma: f32, sigma_next: f32) -> Result<Tensor> {
    sample + (velocity(sample, denoised, sigma)? * f64::from(sigma_next - sigma))?
}

/// Replaces half of the noise at `sigma_next` by `noise`, for a step that led from `sample` at `sigma` to `target` at
/// `sigma_next`. All tensors are float64. At noise level 0 the target is returned as it is.
pub fn res2s_step(sample: &Tensor, target: &Tensor, (sigma, sigma_next): (f64, f64), noise: &Tensor) -> Result<Tensor> {
    let fresh = (sigma_next * 0.5).min(sigma_next * 0.9999);
    if fresh == 0.0 {
        return Ok(target.clone());
    }
    let kept = (sigma_next.powi(2) - fresh.powi(2)).max(0.0).sqrt();
    let alpha = (1.0 - sigma_next) + kept;
    let eps = ((sample - target)? / (sigma - sigma_next))?;
    let denoised = (sample - (&eps * sigma)?)?;
    ((denoised + (eps * (kept / alpha))?)? * alpha)? + (noise * fresh)?
}
