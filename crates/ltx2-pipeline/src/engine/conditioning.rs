//! Initial latent states of a stage: starts, conditioning items and noise.

use candle_core::{DType, Tensor};
use ltx2_models::AudioVideo;
use ltx2_types::InputId;

use super::session::Session;
use super::{Engine, StageSources};
use crate::diffusion::conditioning::ConditioningItem;
use crate::diffusion::latent_state::LatentState;
use crate::diffusion::noiser::add_noise;
use crate::diffusion::patchifier::PixelShape;
use crate::diffusion::token_layout::TokenLayout;
use crate::error::{PipelineError, Result};
use crate::inputs::conditioning_pixels;
use crate::plan::{ItemPlan, ModalityPlan, StagePlan, Start};

impl Engine {
    /// Returns the noisy states with which `stage` starts.
    pub(super) fn initial_states(
        &mut self,
        stage: &StagePlan,
        sources: StageSources,
        session: &mut Session,
    ) -> Result<AudioVideo<LatentState>> {
        let layouts = TokenLayout::of(stage.shape);
        let AudioVideo { video, audio } = &stage.modalities;
        let starts = AudioVideo {
            video: match video.start {
                Start::Input(source) => Some(self.encode_video(source, stage.shape, sources.output, session)?),
                start => self.earlier_latents(start, sources.previous.map(|latents| &latents.video), session)?,
            },
            audio: match audio.start {
                Start::Input(source) => Some(self.encode_audio(source, stage.shape, sources.output, session)?),
                start => self.earlier_latents(start, sources.previous.map(|latents| &latents.audio), session)?,
            },
        };
        let starts = starts.zip(layouts).try_map(|(latent, layout)| start_tokens(latent, layout))?;
        let items = AudioVideo {
            video: self.conditioning_items(&video.items, stage.shape, session)?,
            audio: self.conditioning_items(&audio.items, stage.shape, session)?,
        };
        let clean = AudioVideo {
            video: self.clean_state(video, layouts.video, starts.video.as_ref(), &items.video)?,
            audio: self.clean_state(audio, layouts.audio, starts.audio.as_ref(), &items.audio)?,
        };
        clean.zip(stage.modalities.as_ref()).try_map(|(state, plan)| {
            let (state, noise) = add_noise(&state, plan.noise_scale, &mut session.context.noise, self.dtype())?;
            session.keep("noise", &noise)?;
            Ok(state)
        })
    }

    /// Returns the latents of the previous stage that a modality starts from; `None` for zeros.
    fn earlier_latents(
        &self,
        start: Start,
        previous: Option<&Tensor>,
        session: &mut Session,
    ) -> Result<Option<Tensor>> {
        let previous = || {
            previous.ok_or_else(|| PipelineError::Internal("the first stage has no previous one to start from".into()))
        };
        Ok(match start {
            Start::Empty | Start::Input(_) => None,
            Start::Previous => Some(previous()?.clone()),
            Start::Upscaled => Some(self.upscale(previous()?, session)?),
        })
    }

    /// Upscales a video latent to the next stage's height and width.
    fn upscale(&self, latent: &Tensor, session: &mut Session) -> Result<Tensor> {
        let (upsampler, statistics) = self.models().upsampler(self.dtype(), &self.settings().device)?;
        let latent = statistics.un_normalize(&latent.to_dtype(self.dtype())?)?;
        let upscaled = statistics.normalize(&upsampler.forward(&latent)?)?.to_dtype(DType::F32)?;
        session.keep("upscaled", &upscaled)?;
        Ok(upscaled)
    }

    /// Encodes the inputs of conditioning items.
    fn conditioning_items(
        &mut self,
        items: &[ItemPlan],
        shape: PixelShape,
        session: &mut Session,
    ) -> Result<Vec<ConditioningItem>> {
        let mut encoded = Vec::new();
        for item in items {
            encoded.push(match *item {
                ItemPlan::ReplaceLatent { input, crf, latent_index, strength } => {
                    let latent = self.encode_image((input, crf), shape, session)?;
                    ConditioningItem::ReplaceLatent { latent, latent_index, strength }
                }
                ItemPlan::Keyframe { input, crf, frame, strength } => {
                    let latent = self.encode_image((input, crf), shape, session)?;
                    ConditioningItem::Keyframe { latent, frame, strength }
                }
                ItemPlan::Region { window, strength } => ConditioningItem::Region { window, strength },
            });
        }
        Ok(encoded)
    }

    /// Encodes an image input after an H.264 pass of quality `crf`.
    fn encode_image(
        &mut self,
        (input, crf): (InputId, u32),
        shape: PixelShape,
        session: &mut Session,
    ) -> Result<Tensor> {
        let image = session.context.inputs.image(input, crf).map_err(PipelineError::Input)?;
        let pixels = conditioning_pixels(&image, shape.height, shape.width, &self.settings().device)?;
        session.keep("image", &pixels)?;
        let pixels = pixels.to_dtype(self.dtype())?;
        let latent = self.residency.video_encoder()?.forward(&pixels)?.to_dtype(DType::F32)?;
        session.keep("image_latent", &latent)?;
        Ok(latent)
    }

    /// Returns the state of a modality before noise is added.
    fn clean_state(
        &self,
        plan: &ModalityPlan,
        layout: TokenLayout,
        start: Option<&Tensor>,
        items: &[ConditioningItem],
    ) -> Result<LatentState> {
        let channels = match layout {
            TokenLayout::Video { .. } => self.models().latent_channels().video,
            TokenLayout::Audio { .. } => self.models().latent_channels().audio,
        };
        let mut state = LatentState::new(layout.positions(), start, channels, &self.settings().device)?;
        for item in items {
            state = item.apply(&state, layout)?;
        }
        Ok(if plan.frozen { state.freeze() } else { state })
    }
}

/// Returns the tokens of `latent`, cut or padded with zeros to the length of `layout`.
fn start_tokens(latent: Option<Tensor>, layout: TokenLayout) -> candle_core::Result<Option<Tensor>> {
    let Some(latent) = latent else { return Ok(None) };
    let latent = match layout.frames().checked_sub(latent.dim(2)?) {
        Some(missing) => latent.pad_with_zeros(2, 0, missing)?,
        None => latent.narrow(2, 0, layout.frames())?,
    };
    Ok(Some(layout.patchify(&latent)?))
}
