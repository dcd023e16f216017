//! From one noise level to the next (`EulerDiffusionStep`).

use candle_core::{Result, Tensor};

/// A first-order step: along the velocity that leads from `sample` at `sigma` to `denoised` at 0.
pub fn euler_step(sample: &Tensor, denoised: &Tensor, sigma: f32, sigma_next: f32) -> Result<Tensor> {
    let velocity = ((sample - denoised)? / f64::from(sigma))?;
    sample + (velocity * f64::from(sigma_next - sigma))?
}
