//! State of a sampler.

use candle_core::{DType, Tensor};
use ltx2_models::AudioVideo;

use crate::diffusion::denoiser::{Denoiser, Prediction};
use crate::diffusion::latent_state::LatentState;
use crate::diffusion::noiser::NoiseSource;
use crate::error::Result;

/// Event of a sampler.
pub enum Event<'a> {
    /// A step starts; an error of the observer ends the run.
    Step(usize),
    /// Clean video tokens predicted in this step, `(1, n, channels)`.
    Predicted(&'a Tensor),
    /// A tensor that reference traces contain.
    Tensor(TensorName, &'a Tensor),
}

/// Name of a sampler's tensor within a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorName {
    /// Noisy tokens of a modality after a step.
    Step {
        /// Index of the step.
        step: usize,
        /// `video` or `audio`.
        modality: &'static str,
    },
    /// Tokens after the second-order sampler mixed in fresh noise.
    Res2s {
        /// Index of the mix within the stage.
        update: usize,
    },
    /// A draw of noise.
    Noise,
}

/// Denoiser, schedule and noise of a stage.
pub struct Sampling<'a> {
    /// Predictor of the clean tokens.
    pub denoiser: &'a Denoiser<'a>,
    /// Noise levels from the first to 0.
    pub sigmas: &'a [f32],
    /// Source of fresh noise.
    pub noise: &'a mut NoiseSource,
    /// dtype of the run.
    pub dtype: DType,
    /// Receiver of events.
    pub observer: &'a mut (dyn FnMut(Event) -> Result<()> + 'a),
}

impl Sampling<'_> {
    /// Predicts the clean tokens of `states` at `sigma` and blends them with the known latents.
    pub(super) fn denoised(&self, states: &AudioVideo<LatentState>, sigma: f32) -> Result<Prediction> {
        let prediction = self.denoiser.denoise(states, sigma)?;
        Ok(states.as_ref().zip(prediction).try_map(|(state, denoised)| state.blend(denoised))?)
    }

    /// Reports the start of a step.
    pub(super) fn report_step(&mut self, step: usize) -> Result<()> {
        (self.observer)(Event::Step(step))
    }

    /// Reports the predicted clean tokens.
    pub(super) fn report_prediction(&mut self, denoised: &Prediction) -> Result<()> {
        (self.observer)(Event::Predicted(&denoised.video))
    }

    /// Reports the tokens after a step.
    pub(super) fn report_states(&mut self, step: usize, states: &AudioVideo<LatentState>) -> Result<()> {
        self.report_tensor(TensorName::Step { step, modality: "video" }, &states.video.latent)?;
        self.report_tensor(TensorName::Step { step, modality: "audio" }, &states.audio.latent)
    }

    /// Reports a tensor.
    pub(super) fn report_tensor(&mut self, name: TensorName, tensor: &Tensor) -> Result<()> {
        (self.observer)(Event::Tensor(name, tensor))
    }
}

/// Returns the noisy tokens of both states.
pub(super) fn latents(states: &AudioVideo<LatentState>) -> AudioVideo<&Tensor> {
    states.as_ref().map(|state| &state.latent)
}

/// Returns the states with other noisy tokens; frozen states stay as they are.
pub(super) fn with_latents(states: &AudioVideo<LatentState>, latents: AudioVideo<Tensor>) -> AudioVideo<LatentState> {
    states.as_ref().zip(latents).map(|(state, latent)| state.with_latent(latent))
}
