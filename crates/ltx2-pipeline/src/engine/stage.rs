//! Execution of one stage: denoising of its initial states.

use candle_core::{Device, Tensor};
use ltx2_models::AudioVideo;
use ltx2_models::text_encoder::Contexts;
use ltx2_models::transformer::{PromptContext, PromptContexts, Transformer};

use super::prompts::RunContexts;
use super::session::Session;
use super::{Engine, Latents, StageSources};
use crate::diffusion::denoiser::Denoiser;
use crate::diffusion::guider::guiding_passes;
use crate::diffusion::latent_state::LatentState;
use crate::diffusion::sampler::{Event, Sampling, TensorName, sample};
use crate::diffusion::token_layout::TokenLayout;
use crate::error::Result;
use crate::plan::{ModalityPlan, StagePlan};

impl Engine {
    /// Runs `stage` and returns its latents. `required` is the memory of denoising with the whole transformer.
    pub(super) fn run_stage(
        &mut self,
        (index, stage): (usize, &StagePlan),
        sources: StageSources,
        contexts: &RunContexts,
        required: usize,
        session: &mut Session,
    ) -> Result<Latents> {
        let states = self.initial_states(stage, sources, session)?;
        session.report_loading()?;
        let transformer = self.residency.transformer_within(&stage.loras, required)?;
        let (positive, negative) = cache_contexts(&transformer, stage, contexts)?;
        let prompts = PromptContexts { positive: &positive, negative: negative.as_ref() };
        let denoiser = Denoiser::new(&transformer, prompts, &states, stage.guidance(), self.dtype())?;
        session.keep(&format!("sigmas.{index}"), &Tensor::new(stage.sigmas.as_slice(), &Device::Cpu)?)?;
        let states = self.sample_stage((index, stage), &denoiser, states, session)?;
        let layouts = TokenLayout::of(stage.shape);
        // Conditioning items append their tokens after those of the target.
        Ok(states.zip(layouts).try_map(|(state, layout)| layout.unpatchify(&state.first_tokens(layout.tokens())?))?)
    }

    /// Denoises `states`; reports progress, previews and tensors.
    fn sample_stage(
        &mut self,
        (index, stage): (usize, &StagePlan),
        denoiser: &Denoiser,
        states: AudioVideo<LatentState>,
        session: &mut Session,
    ) -> Result<AudioVideo<LatentState>> {
        let mut noise = std::mem::take(&mut session.context.noise);
        let first_step = session.steps.done;
        let dtype = self.dtype();
        let mut observer = |event: Event| match event {
            Event::Step(step) => {
                session.steps.done = first_step + step;
                session.report_steps()
            }
            Event::Predicted(tokens) => self.preview(stage.shape.latent(), tokens, session),
            Event::Tensor(name, tensor) => session.keep(&trace_name(name, index), tensor),
        };
        let sampling = Sampling { denoiser, sigmas: &stage.sigmas, noise: &mut noise, dtype, observer: &mut observer };
        let states = sample(stage.sampler, sampling, states)?;
        session.context.noise = noise;
        session.steps.done = first_step + stage.steps();
        session.report_steps()?;
        Ok(states)
    }
}

/// Computes the keys and values of the prompts for the weights of a stage. They are large, so those of the negative
/// prompt are computed only if guidance uses them.
fn cache_contexts(
    transformer: &Transformer,
    stage: &StagePlan,
    contexts: &RunContexts,
) -> candle_core::Result<(PromptContext, Option<PromptContext>)> {
    let guiding = guiding_passes(stage.guidance());
    let positive = transformer.cache_context(&contexts.positive)?;
    let negative = contexts.negative.as_ref().filter(|_| guiding.negative.is_some());
    let kept = |modality: &ModalityPlan, negative: &Tensor, positive: &Tensor| {
        if modality.keeps_prompt { positive.clone() } else { negative.clone() }
    };
    let negative = negative.map(|negative| {
        let positive = &contexts.positive;
        transformer.cache_context(&Contexts {
            video: kept(&stage.modalities.video, &negative.video, &positive.video),
            audio: kept(&stage.modalities.audio, &negative.audio, &positive.audio),
        })
    });
    let negative = negative.transpose()?;
    Ok((positive, negative))
}

/// Returns the name of a sampler's tensor in reference traces.
fn trace_name(name: TensorName, stage: usize) -> String {
    match name {
        TensorName::Step { step, modality } => format!("step.{stage}.{step}.{modality}"),
        TensorName::Res2s { update } => format!("res2s.{stage}.{update}"),
        TensorName::Noise => "noise".into(),
    }
}
