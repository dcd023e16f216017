//! First-order sampling, plain and with gradient estimation (<https://openreview.net/pdf?id=o2ND9v0CeK>).

use candle_core::Tensor;
use ltx2_models::AudioVideo;

use super::sampling::{Sampling, latents, with_latents};
use crate::diffusion::denoiser::Prediction;
use crate::diffusion::latent_state::LatentState;
use crate::diffusion::stepper::{euler_step, velocity};
use crate::error::Result;

/// Extrapolation factor of the velocity's change since the previous step.
const GAMMA: f64 = 2.0;

/// `euler_denoising_loop`.
pub(super) fn euler(mut sampling: Sampling, mut states: AudioVideo<LatentState>) -> Result<AudioVideo<LatentState>> {
    for (step, sigmas) in sampling.sigmas.windows(2).enumerate() {
        sampling.report_step(step)?;
        let denoised = sampling.denoised(&states, sigmas[0])?;
        sampling.report_prediction(&denoised)?;
        states = step_towards(&states, &denoised, sigmas)?;
        sampling.report_states(step, &states)?;
    }
    Ok(states)
}

/// `gradient_estimating_euler_denoising_loop`.
pub(super) fn gradient_estimating_euler(
    mut sampling: Sampling,
    mut states: AudioVideo<LatentState>,
) -> Result<AudioVideo<LatentState>> {
    let mut previous: Option<AudioVideo<Tensor>> = None;
    for (step, sigmas) in sampling.sigmas.windows(2).enumerate() {
        sampling.report_step(step)?;
        let denoised = sampling.denoised(&states, sigmas[0])?;
        sampling.report_prediction(&denoised)?;
        if sigmas[1] == 0.0 {
            states = with_latents(&states, denoised);
            sampling.report_states(step, &states)?;
            break;
        }
        let latents = latents(&states);
        let current = latents.zip(denoised.as_ref()).try_map(|(x, denoised)| velocity(x, denoised, sigmas[0]))?;
        let estimated = match &previous {
            Some(previous) => latents
                .zip(current.as_ref().zip(previous.as_ref()))
                .try_map(|(x, (current, previous))| extrapolated(x, current, previous, sigmas[0]))?,
            None => denoised,
        };
        previous = Some(current);
        states = step_towards(&states, &estimated, sigmas)?;
        sampling.report_states(step, &states)?;
    }
    Ok(states)
}

fn step_towards(
    states: &AudioVideo<LatentState>,
    denoised: &Prediction,
    sigmas: &[f32],
) -> Result<AudioVideo<LatentState>> {
    let stepped = latents(states)
        .zip(denoised.as_ref())
        .try_map(|(x, denoised)| euler_step(x, denoised, sigmas[0], sigmas[1]))?;
    Ok(with_latents(states, stepped))
}

/// Extrapolates the velocity, `previous + GAMMA * (current - previous)`, and returns the clean tokens that it leads to.
fn extrapolated(x: &Tensor, current: &Tensor, previous: &Tensor, sigma: f32) -> candle_core::Result<Tensor> {
    let total = (((current - previous)? * GAMMA)? + previous)?;
    x - (total * f64::from(sigma))?
}
