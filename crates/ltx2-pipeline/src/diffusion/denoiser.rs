//! One guided prediction of the clean latents (`multi_modal_guider_denoising_func` around `X0Model`).

use candle_core::{DType, Result, Tensor};
use ltx2_models::AudioVideo;
use ltx2_models::transformer::{Modality, PromptContexts, StepInputs, StreamRope, Timesteps, Transformer};

use super::LatentState;
use super::guider::{GuiderParams, guiding_passes};

/// The transformer with the prompts, the positions and the guidance of a stage.
#[derive(Debug)]
pub struct Denoiser<'a> {
    transformer: &'a Transformer,
    prompts: PromptContexts<'a>,
    ropes: AudioVideo<StreamRope>,
    video_guider: &'a GuiderParams,
    audio_guider: &'a GuiderParams,
    dtype: DType,
}

/// A prediction for picture and sound, `(1, n, channels)` float32 each.
pub type Prediction = (Tensor, Tensor);

impl<'a> Denoiser<'a> {
    /// For states at the positions of `video` and `audio`.
    pub fn new(
        transformer: &'a Transformer,
        prompts: PromptContexts<'a>,
        (video, audio): (&LatentState, &LatentState),
        (video_guider, audio_guider): (&'a GuiderParams, &'a GuiderParams),
        dtype: DType,
    ) -> Result<Self> {
        let ropes = transformer.ropes(AudioVideo { video: &video.positions, audio: &audio.positions })?;
        Ok(Self { transformer, prompts, ropes, video_guider, audio_guider, dtype })
    }

    /// The clean latents as predicted from `video` and `audio` at noise level `sigma`, not yet blended with what is
    /// known.
    pub fn denoise(&self, video: &LatentState, audio: &LatentState, sigma: f32) -> Result<Prediction> {
        let (video, audio) = (NoisyTokens::new(video, sigma, self.dtype)?, NoisyTokens::new(audio, sigma, self.dtype)?);
        let inputs = StepInputs {
            modalities: AudioVideo {
                video: video.modality(sigma, &self.ropes.video),
                audio: audio.modality(sigma, &self.ropes.audio),
            },
            prompts: self.prompts,
        };
        let guiding = guiding_passes([self.video_guider, self.audio_guider]);
        let predictions: Vec<Prediction> = self
            .transformer
            .forward_all(&inputs, &guiding.passes())?
            .iter()
            .map(|velocities| Ok((video.denoised(&velocities.video)?, audio.denoised(&velocities.audio)?)))
            .collect::<Result<_>>()?;
        let (cond, others) = predictions.split_first().expect("a prediction for each pass");
        let mut others = others.iter();
        let others = guiding.map(|pass| pass.and_then(|_| others.next()));
        let side = |of: fn(&Prediction) -> &Tensor| others.map(|prediction| prediction.map(of));
        Ok((
            self.video_guider.guide(&cond.0, side(|prediction| &prediction.0))?,
            self.audio_guider.guide(&cond.1, side(|prediction| &prediction.1))?,
        ))
    }
}

/// One modality's state at one noise level, as the transformer takes it.
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

    fn modality<'a>(&'a self, sigma: f32, rope: &'a StreamRope) -> Modality<'a> {
        Modality { latent: &self.rounded, sigma, timesteps: &self.timesteps, rope }
    }

    /// What is left without the noise: the latent, less the velocity times its noise level.
    fn denoised(&self, velocity: &Tensor) -> Result<Tensor> {
        &self.latent - velocity.to_dtype(DType::F32)?.broadcast_mul(&self.levels)?
    }
}
