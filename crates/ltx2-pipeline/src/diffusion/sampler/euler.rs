//! First-order sampling, plain and with gradient estimation (<https://openreview.net/pdf?id=o2ND9v0CeK>).

use candle_core::{Result, Tensor};

use super::{Event, Sampling, States, both};
use crate::PipelineError;
use crate::diffusion::stepper::{euler_step, velocity};

/// How much of a velocity's change since the step before is taken.
const GAMMA: f64 = 2.0;

impl Sampling<'_> {
    /// `euler_denoising_loop`.
    pub(super) fn euler(mut self, mut states: States) -> std::result::Result<States, PipelineError> {
        for (step, sigmas) in self.sigmas.windows(2).enumerate() {
            (self.observer)(Event::Step(step))?;
            let denoised = self.denoised(&states, sigmas[0])?;
            (self.observer)(Event::Predicted(&denoised[0]))?;
            states = step_towards(&states, &denoised, sigmas)?;
            self.keep_step(step, &states)?;
        }
        Ok(states)
    }

    /// `gradient_estimating_euler_denoising_loop`.
    pub(super) fn gradient_estimating_euler(
        mut self,
        mut states: States,
    ) -> std::result::Result<States, PipelineError> {
        let mut previous: Option<[Tensor; 2]> = None;
        for (step, sigmas) in self.sigmas.windows(2).enumerate() {
            (self.observer)(Event::Step(step))?;
            let denoised = self.denoised(&states, sigmas[0])?;
            (self.observer)(Event::Predicted(&denoised[0]))?;
            if sigmas[1] == 0.0 {
                states = states.with_latents(denoised);
                self.keep_step(step, &states)?;
                break;
            }
            let latents = states.latents();
            let current = both(|i| Ok(velocity(latents[i], &denoised[i], sigmas[0])?))?;
            let estimated = match &previous {
                Some(before) => both(|i| Ok(corrected(latents[i], &current[i], &before[i], sigmas[0])?))?,
                None => denoised,
            };
            previous = Some(current);
            states = step_towards(&states, &estimated, sigmas)?;
            self.keep_step(step, &states)?;
        }
        Ok(states)
    }
}

fn step_towards(states: &States, denoised: &[Tensor; 2], sigmas: &[f32]) -> std::result::Result<States, PipelineError> {
    let latents = states.latents();
    Ok(states.with_latents(both(|i| Ok(euler_step(latents[i], &denoised[i], sigmas[0], sigmas[1])?))?))
}

/// Where the velocity leads that goes `GAMMA` times as far from `before` as `current` does.
fn corrected(latent: &Tensor, current: &Tensor, before: &Tensor, sigma: f32) -> Result<Tensor> {
    let total = (((current - before)? * GAMMA)? + before)?;
    latent - (total * f64::from(sigma))?
}
