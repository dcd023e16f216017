//! One stage of a plan: from noise, or from the previous stage's latents, to denoised ones.

use candle_core::{DType, Device, Tensor};
use ltx2_models::text_encoder::Contexts;
use ltx2_models::transformer::PromptContexts;

use super::{Engine, Latents, Result, Session};
use crate::diffusion::conditioning::ConditioningItem;
use crate::diffusion::denoiser::Denoiser;
use crate::diffusion::guider::guiding_passes;
use crate::diffusion::latent_state::LatentState;
use crate::diffusion::noiser::add_noise;
use crate::diffusion::patchifier::{VideoLatentShape, audio_patchify, audio_positions, audio_unpatchify};
use crate::diffusion::sampler::{Event, Name, Sampling, States};
use crate::image_conditioning::conditioning_pixels;
use crate::plan::{ItemPlan, ModalityPlan, StagePlan, Start};
use crate::{PipelineError, Precision};

impl Engine {
    /// Denoises, starting from what the stage's plan says; that takes `bytes` with all of the transformer in memory.
    pub(super) fn run_stage(
        &mut self,
        (index, stage): (usize, &StagePlan),
        previous: Option<Latents>,
        contexts: &(Contexts, Option<Contexts>),
        bytes: usize,
        session: &mut Session,
    ) -> Result<Latents> {
        let shape = stage.shape.latent();
        let start = self.start(stage, previous, session)?;
        let items = self.conditioning_items(stage, session)?;
        let states = self.initial_states(stage, &start, &items, session)?;
        session.report_loading()?;
        let transformer = self.transformer_within(&stage.loras, bytes)?;
        // They hold for this stage's weights, and take so much memory that they are not made for nothing.
        let guiding = guiding_passes([&stage.video.guidance, &stage.audio.guidance]);
        let positive = transformer.cache_context(&contexts.0)?;
        let negative = contexts.1.as_ref().filter(|_| guiding.negative.is_some());
        let negative = negative.map(|contexts| transformer.cache_context(contexts)).transpose()?;
        let denoiser = Denoiser::new(
            &transformer,
            PromptContexts { positive: &positive, negative: negative.as_ref() },
            (&states.video, &states.audio),
            (&stage.video.guidance, &stage.audio.guidance),
            self.dtype(),
        )?;
        session.context.probe.keep(&format!("sigmas.{index}"), &Tensor::new(stage.sigmas.as_slice(), &Device::Cpu)?)?;
        let mut noise = std::mem::take(&mut session.context.noise);
        let first_step = session.steps.done;
        let dtype = self.dtype();
        let mut observer = |event: Event| match event {
            Event::Step(step) => {
                session.steps.done = first_step + step;
                session.report_steps()
            }
            Event::Predicted(tokens) => self.preview(shape, tokens, session),
            Event::Kept(name, tensor) => Ok(session.context.probe.keep(&trace_name(name, index), tensor)?),
        };
        let sampling =
            Sampling { denoiser: &denoiser, sigmas: &stage.sigmas, noise: &mut noise, dtype, observer: &mut observer };
        let States { video, audio } = sampling.run(stage.sampler, states)?;
        session.context.noise = noise;
        session.steps.done = first_step + stage.sigmas.len() - 1;
        session.report_steps()?;
        Ok(Latents {
            video: shape.unpatchify(&video.first_tokens(shape.tokens())?)?,
            audio: audio_unpatchify(&audio.latent)?,
        })
    }

    /// The tokens that noise is added to, where the stage does not start from nothing.
    fn start(
        &mut self,
        stage: &StagePlan,
        previous: Option<Latents>,
        session: &mut Session,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let missing = || PipelineError::Request("the first stage has no previous one to start from".into());
        let previous = |start: Start| match start {
            Start::Empty => Ok(None),
            Start::Previous | Start::Upscaled => previous.as_ref().map(Some).ok_or_else(missing),
        };
        let video = match (stage.video.start, previous(stage.video.start)?) {
            (Start::Upscaled, Some(latents)) => Some(self.upscale(&latents.video, session)?),
            (_, latents) => latents.map(|latents| latents.video.clone()),
        };
        let audio = previous(stage.audio.start)?.map(|latents| latents.audio.clone());
        Ok((
            video.as_ref().map(VideoLatentShape::patchify).transpose()?,
            audio.as_ref().map(audio_patchify).transpose()?,
        ))
    }

    /// At the full height and width, through the latent upsampler.
    fn upscale(&self, latent: &Tensor, session: &mut Session) -> Result<Tensor> {
        let (upsampler, statistics) = self.models.upsampler(self.dtype(), &self.settings.device)?;
        let latent = statistics.un_normalize(&latent.to_dtype(self.dtype())?)?;
        let upscaled = statistics.normalize(&upsampler.forward(&latent)?)?.to_dtype(DType::F32)?;
        session.context.probe.keep("upscaled", &upscaled)?;
        Ok(upscaled)
    }

    fn conditioning_items(&mut self, stage: &StagePlan, session: &mut Session) -> Result<Vec<ConditioningItem>> {
        let mut items = Vec::new();
        for item in &stage.video.items {
            let image = session.context.inputs.image(item.input(), item.crf()).map_err(PipelineError::Input)?;
            let pixels = conditioning_pixels(&image, stage.shape.height, stage.shape.width, &self.settings.device)?;
            session.context.probe.keep("image", &pixels)?;
            let latent = self.video_encoder()?.forward(&pixels.to_dtype(self.dtype())?)?.to_dtype(DType::F32)?;
            session.context.probe.keep("image_latent", &latent)?;
            items.push(match *item {
                ItemPlan::ReplaceLatent { latent_index, strength, .. } => {
                    ConditioningItem::ReplaceLatent { latent, latent_index, strength }
                }
                ItemPlan::Keyframe { frame, strength, .. } => ConditioningItem::Keyframe { latent, frame, strength },
            });
        }
        Ok(items)
    }

    fn initial_states(
        &self,
        stage: &StagePlan,
        (video_start, audio_start): &(Option<Tensor>, Option<Tensor>),
        items: &[ConditioningItem],
        session: &mut Session,
    ) -> Result<States> {
        let (shape, frame_rate) = (stage.shape.latent(), stage.shape.frame_rate);
        let (video_channels, audio_channels) = self.models.latent_channels();
        let positions = match self.settings.precision {
            Precision::F32 => shape.positions(frame_rate, 0),
            Precision::Bf16 => shape.positions(frame_rate, 0).rounded_to_bf16(),
        };
        let mut video = LatentState::new(positions, video_start.as_ref(), video_channels, &self.settings.device)?;
        for item in items {
            video = item.apply(video, shape, frame_rate)?;
        }
        let positions = audio_positions(stage.shape.audio_frames());
        let audio = LatentState::new(positions, audio_start.as_ref(), audio_channels, &self.settings.device)?;
        let mut noised = |state, plan: &ModalityPlan| -> Result<LatentState> {
            let (state, noise) = add_noise(state, plan.noise_scale, &mut session.context.noise, self.dtype())?;
            session.context.probe.keep("noise", &noise)?;
            Ok(state)
        };
        Ok(States { video: noised(video, &stage.video)?, audio: noised(audio, &stage.audio)? })
    }
}

/// What reference traces call a tensor of a sampler in stage `index`.
fn trace_name(name: Name, index: usize) -> String {
    match name {
        Name::Step { step, modality } => format!("step.{index}.{step}.{modality}"),
        Name::Res2s { update } => format!("res2s.{index}.{update}"),
        Name::Noise => "noise".into(),
    }
}
