//! Initial latent states of a stage: starts, conditioning items and noise.

use candle_core::{DType, Tensor};
use ltx2_models::AudioVideo;

use super::session::Session;
use super::{Engine, Latents};
use crate::diffusion::conditioning::ConditioningItem;
use crate::diffusion::latent_state::LatentState;
use crate::diffusion::noiser::add_noise;
use crate::diffusion::patchifier::PixelShape;
use crate::diffusion::token_layout::TokenLayout;
use crate::error::{PipelineError, Result};
use crate::inputs::conditioning_pixels;
use crate::plan::{ItemPlan, ModalityPlan, StagePlan, Start};

impl Engine {
    /// Returns the noisy states with which `stage` starts. `previous` are the latents of the previous stage.
    pub(super) fn initial_states(
        &mut self,
        stage: &StagePlan,
        previous: Option<&Latents>,
        session: &mut Session,
    ) -> Result<AudioVideo<LatentState>> {
        let layouts = TokenLayout::of(stage.shape);
        let AudioVideo { video, audio } = &stage.modalities;
        let starts = AudioVideo {
            video: self.start_tokens(video.start, previous.map(|latents| &latents.video), layouts.video, session)?,
            audio: self.start_tokens(audio.start, previous.map(|latents| &latents.audio), layouts.audio, session)?,
        };
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

    /// Returns the tokens that a modality starts from, `(1, n, channels)`; `None` for zeros.
    fn start_tokens(
        &self,
        start: Start,
        previous: Option<&Tensor>,
        layout: TokenLayout,
        session: &mut Session,
    ) -> Result<Option<Tensor>> {
        let previous = || {
            previous.ok_or_else(|| PipelineError::Internal("the first stage has no previous one to start from".into()))
        };
        let latent = match start {
            Start::Empty => return Ok(None),
            Start::Previous => previous()?.clone(),
            Start::Upscaled => self.upscale(previous()?, session)?,
            Start::Input(id) => {
                return Err(PipelineError::Internal(format!(
                    "a stage cannot start from input {id}: not supported yet"
                )));
            }
        };
        Ok(Some(layout.patchify(&latent)?))
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
            let image = session.context.inputs.image(item.input(), item.crf()).map_err(PipelineError::Input)?;
            let pixels = conditioning_pixels(&image, shape.height, shape.width, &self.settings().device)?;
            session.keep("image", &pixels)?;
            let pixels = pixels.to_dtype(self.dtype())?;
            let latent = self.residency.video_encoder()?.forward(&pixels)?.to_dtype(DType::F32)?;
            session.keep("image_latent", &latent)?;
            encoded.push(match *item {
                ItemPlan::ReplaceLatent { latent_index, strength, .. } => {
                    ConditioningItem::ReplaceLatent { latent, latent_index, strength }
                }
                ItemPlan::Keyframe { frame, strength, .. } => ConditioningItem::Keyframe { latent, frame, strength },
            });
        }
        Ok(encoded)
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
