//! The loops that take picture and sound from the first noise level to none (`samplers.py`).

mod euler;
mod res2s;

use candle_core::{DType, Tensor};
use ltx2_types::Sampler;

use super::noiser::NoiseSource;
use super::{Denoiser, LatentState};
use crate::PipelineError;

/// What a sampler tells while it runs.
pub enum Event<'a> {
    /// The step of that number begins; an error ends the run.
    Step(usize),
    /// The clean picture's tokens as predicted in this step, `(1, n, channels)`.
    Predicted(&'a Tensor),
    /// A tensor under the name that reference traces give it within a stage, such as `step.{stage}.0.video`.
    Kept(Name, &'a Tensor),
}

/// What a kept tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// The latents of `modality` after `step`.
    Step {
        /// Which step.
        step: usize,
        /// `video` or `audio`.
        modality: &'static str,
    },
    /// The `update`-th mix with fresh noise.
    Res2s {
        /// Counted over the stage.
        update: usize,
    },
    /// A draw of noise.
    Noise,
}

/// A stage's denoising: what predicts, along which noise levels, with whose noise.
pub struct Sampling<'a> {
    /// Predicts the clean latents.
    pub denoiser: &'a Denoiser<'a>,
    /// Noise levels, from the first to 0.
    pub sigmas: &'a [f32],
    /// Where fresh noise comes from.
    pub noise: &'a mut NoiseSource,
    /// The run's dtype.
    pub dtype: DType,
    /// Sees the steps.
    pub observer: &'a mut (dyn FnMut(Event) -> Result<(), PipelineError> + 'a),
}

/// Picture and sound while they are denoised.
#[derive(Debug, Clone)]
pub struct States {
    /// The picture.
    pub video: LatentState,
    /// The sound.
    pub audio: LatentState,
}

impl Sampling<'_> {
    /// Denoises `states` the way that `sampler` says.
    pub fn run(self, sampler: Sampler, states: States) -> Result<States, PipelineError> {
        match sampler {
            Sampler::Euler => self.euler(states),
            Sampler::GradientEstimation => self.gradient_estimating_euler(states),
            Sampler::Res2s => self.res2s(states),
        }
    }

    /// The clean picture and sound as predicted at `sigma`, blended with what is known of them.
    fn denoised(&self, states: &States, sigma: f32) -> Result<[Tensor; 2], PipelineError> {
        let (video, audio) = self.denoiser.denoise(&states.video, &states.audio, sigma)?;
        Ok([states.video.blend(video)?, states.audio.blend(audio)?])
    }

    fn keep_step(&mut self, step: usize, states: &States) -> Result<(), PipelineError> {
        (self.observer)(Event::Kept(Name::Step { step, modality: "video" }, &states.video.latent))?;
        (self.observer)(Event::Kept(Name::Step { step, modality: "audio" }, &states.audio.latent))
    }
}

impl States {
    /// The same with other latents, picture first.
    fn with_latents(&self, [video, audio]: [Tensor; 2]) -> Self {
        Self {
            video: LatentState { latent: video, ..self.video.clone() },
            audio: LatentState { latent: audio, ..self.audio.clone() },
        }
    }

    fn latents(&self) -> [&Tensor; 2] {
        [&self.video.latent, &self.audio.latent]
    }
}

/// `make` for the picture, then for the sound.
fn both<T>(mut make: impl FnMut(usize) -> Result<T, PipelineError>) -> Result<[T; 2], PipelineError> {
    Ok([make(0)?, make(1)?])
}
