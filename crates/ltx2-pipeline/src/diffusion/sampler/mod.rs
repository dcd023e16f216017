//! Samplers: loops that denoise video and audio from the first noise level to 0 (`samplers.py`).

mod euler;
mod res2s;
mod sampling;

use ltx2_models::AudioVideo;
use ltx2_types::Sampler;

use super::latent_state::LatentState;
use crate::error::PipelineError;

pub use sampling::{Event, Sampling, TensorName};

/// Denoises `states` by `sampler`. Frozen states are not changed.
///
/// # Errors
/// The observer or a tensor operation fails.
pub fn sample(
    sampler: Sampler,
    sampling: Sampling<'_>,
    states: AudioVideo<LatentState>,
) -> Result<AudioVideo<LatentState>, PipelineError> {
    match sampler {
        Sampler::Euler => euler::euler(sampling, states),
        Sampler::GradientEstimation => euler::gradient_estimating_euler(sampling, states),
        Sampler::Res2s => res2s::res2s(sampling, states),
    }
}

/// Returns the predictions of a step. The second-order sampler makes one more at the end, which is not counted.
pub fn predictions_per_step(sampler: Sampler) -> usize {
    match sampler {
        Sampler::Euler | Sampler::GradientEstimation => 1,
        Sampler::Res2s => 2,
    }
}

#[cfg(test)]
mod tests;
