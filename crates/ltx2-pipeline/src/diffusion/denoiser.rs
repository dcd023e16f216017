//! One guided prediction of the clean latents (`multi_modal_guider_denoising_func` around `X0Model`).

use candle_core::{DType, Result, Tensor};
use ltx2_models::transformer::{Blocks, Context, Modality, Pass, Perturbations, StreamRope, Timesteps, Transformer};

use super::LatentState;
use super::guider::{GuiderParams, Predictions};

/// The transformer with the prompts, the positions and the guidance of a stage.
#[derive(Debug)]
pub struct Denoiser<'a> {
    transformer: &'a Transformer,
    positive: &'a Context,
    negative: Option<&'a Context>,
    ropes: (StreamRope, StreamRope),
    video_guider: &'a GuiderParams,
    audio_guider: &'a GuiderParams,
    dtype: DType,
}

/// A prediction for picture and sound, `(1, n, channels)` float32 each.
pub type Prediction = (Tensor, Tensor);

impl<'a> Denoiser<'a> {
    /// For states at the positions of `video` and `audio`. `negative` may be missing where no guider needs it.
    pub fn new(
        transformer: &'a Transformer,
        (positive, negative): (&'a Context, Option<&'a Context>),
        (video, audio): (&LatentState, &LatentState),
        (video_guider, audio_guider): (&'a GuiderParams, &'a GuiderParams),
        dtype: DType,
    ) -> Result<Self> {
        let ropes = transformer.ropes(&video.positions, &audio.positions)?;
        Ok(Self { transformer, positive, negative, ropes, video_guider, audio_guider, dtype })
    }

    /// The clean latents as predicted from `video` and `audio` at noise level `sigma`, not yet blended with what is
    /// known.
    pub fn denoise(&self, video: &LatentState, audio: &LatentState, sigma: f32) -> Result<Prediction> {
        let step = Step::new(video, audio, sigma, self.dtype)?;
        let run = |context, perturbations: &Perturbations| self.predict(&step, context, perturbations);
        let guiders = [self.video_guider, self.audio_guider];
        let cond = run(self.positive, &Perturbations::default())?;
        let mut others = Predictions::<Option<Prediction>>::default();
        if guiders.iter().any(|guider| guider.needs_negative()) {
            let Some(negative) = self.negative else {
                candle_core::bail!("guidance needs the negative prompt's context")
            };
            others.negative = Some(run(negative, &Perturbations::default())?);
        }
        if guiders.iter().any(|guider| guider.needs_perturbed()) {
            let skip = |guider: &GuiderParams| match guider.needs_perturbed() {
                true => Blocks::At(guider.stg_blocks.clone()),
                false => Blocks::Nowhere,
            };
            let perturbations = Perturbations {
                skip_video_self_attn: skip(self.video_guider),
                skip_audio_self_attn: skip(self.audio_guider),
                ..Default::default()
            };
            others.perturbed = Some(run(self.positive, &perturbations)?);
        }
        if guiders.iter().any(|guider| guider.needs_isolated()) {
            let apart = Perturbations {
                skip_a2v_cross_attn: Blocks::Everywhere,
                skip_v2a_cross_attn: Blocks::Everywhere,
                ..Default::default()
            };
            others.isolated = Some(run(self.positive, &apart)?);
        }
        let side = |of: fn(&Prediction) -> &Tensor| Predictions {
            negative: others.negative.as_ref().map(of),
            perturbed: others.perturbed.as_ref().map(of),
            isolated: others.isolated.as_ref().map(of),
        };
        Ok((
            self.video_guider.guide(&cond.0, side(|prediction| &prediction.0))?,
            self.audio_guider.guide(&cond.1, side(|prediction| &prediction.1))?,
        ))
    }

    fn predict(&self, step: &Step, context: &Context, perturbations: &Perturbations) -> Result<Prediction> {
        let (video, audio) = (&step.video, &step.audio);
        let pass = Pass {
            video: video.modality(step.sigma, &self.ropes.0, &context.video),
            audio: audio.modality(step.sigma, &self.ropes.1, &context.audio),
            perturbations,
        };
        let (v_velocity, a_velocity) = self.transformer.forward(&pass)?;
        Ok((video.denoised(&v_velocity)?, audio.denoised(&a_velocity)?))
    }
}

/// The states at one noise level, as the transformer takes them.
struct Step {
    sigma: f32,
    video: NoisyTokens,
    audio: NoisyTokens,
}

impl Step {
    fn new(video: &LatentState, audio: &LatentState, sigma: f32, dtype: DType) -> Result<Self> {
        Ok(Self { sigma, video: NoisyTokens::new(video, sigma, dtype)?, audio: NoisyTokens::new(audio, sigma, dtype)? })
    }
}

struct NoisyTokens {
    latent: Tensor,
    rounded: Tensor,
    timesteps: Timesteps,
    /// Noise level of each token, `(1, n, 1)`.
    levels: Tensor,
}

impl NoisyTokens {
    fn new(state: &LatentState, sigma: f32, dtype: DType) -> Result<Self> {
        let levels: Vec<f32> = state.denoise_mask.iter().map(|share| share * sigma).collect();
        let device = state.latent.device();
        Ok(Self {
            latent: state.latent.clone(),
            rounded: state.latent.to_dtype(dtype)?,
            timesteps: Timesteps::new(&levels, device)?,
            levels: Tensor::from_slice(&levels, (1, levels.len(), 1), device)?,
        })
    }

    fn modality<'a>(&'a self, sigma: f32, rope: &'a StreamRope, context: &'a Tensor) -> Modality<'a> {
        Modality { latent: &self.rounded, sigma, timesteps: &self.timesteps, rope, context }
    }

    /// What is left without the noise: the latent, less the velocity times its noise level.
    fn denoised(&self, velocity: &Tensor) -> Result<Tensor> {
        &self.latent - velocity.to_dtype(DType::F32)?.broadcast_mul(&self.levels)?
    }
}
