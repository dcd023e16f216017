//! Guided prediction of the clean latents (`multi_modal_guider_denoising_func` around `X0Model`).

use candle_core::{DType, Result, Tensor};
use ltx2_models::AudioVideo;
use ltx2_models::transformer::{Modality, PromptContexts, StepInputs, StreamRope, Timesteps, Transformer};

use super::guider::{GuiderParams, guiding_passes};
use super::latent_state::LatentState;

/// The transformer with the prompts, positions and guidance of a stage.
#[derive(Debug)]
pub struct Denoiser<'a> {
    transformer: &'a Transformer,
    prompts: PromptContexts<'a>,
    ropes: AudioVideo<StreamRope>,
    guidance: AudioVideo<&'a GuiderParams>,
    dtype: DType,
}

/// Predicted clean tokens, `(1, n, channels)` float32 each.
pub type Prediction = AudioVideo<Tensor>;

impl<'a> Denoiser<'a> {
    /// Creates a denoiser for states with the positions of `states`, in a run of `dtype`.
    pub fn new(
        transformer: &'a Transformer,
        prompts: PromptContexts<'a>,
        states: &AudioVideo<LatentState>,
        guidance: AudioVideo<&'a GuiderParams>,
        dtype: DType,
    ) -> Result<Self> {
        let ropes = transformer.ropes(states.as_ref().map(|state| &state.positions))?;
        Ok(Self { transformer, prompts, ropes, guidance, dtype })
    }

    /// Predicts the clean tokens of `states` at noise level `sigma`, before they are blended with the known latents. A
    /// frozen modality is at noise level 0.
    pub fn denoise(&self, states: &AudioVideo<LatentState>, sigma: f32) -> Result<Prediction> {
        let noisy = states.as_ref().try_map(|state| NoisyTokens::new(state, sigma, self.dtype))?;
        let modalities = noisy.as_ref().zip(self.ropes.as_ref()).map(|(tokens, rope)| tokens.modality(rope));
        let inputs = StepInputs { modalities, prompts: self.prompts };
        let guiding = guiding_passes(self.guidance);
        let mut predictions = self
            .transformer
            .forward_all(&inputs, &guiding.passes())?
            .iter()
            .map(|velocities| noisy.as_ref().zip(velocities.as_ref()).try_map(|(tokens, v)| tokens.denoised(v)))
            .collect::<Result<Vec<Prediction>>>()?
            .into_iter();
        let cond = predictions.next().expect("a prediction for each pass");
        let others = guiding.map(|pass| pass.and_then(|_| predictions.next()));
        Ok(AudioVideo {
            video: self.guidance.video.guide(&cond.video, others.as_ref().map(|p| p.as_ref().map(|p| &p.video)))?,
            audio: self.guidance.audio.guide(&cond.audio, others.as_ref().map(|p| p.as_ref().map(|p| &p.audio)))?,
        })
    }
}

/// Tokens of one modality at one noise level, as the transformer reads them.
struct NoisyTokens {
    latent: Tensor,
    /// `latent` in the dtype of the run.
    rounded: Tensor,
    sigma: f32,
    timesteps: Timesteps,
    /// Noise level of each token, `(1, n, 1)`.
    levels: Tensor,
}

impl NoisyTokens {
    fn new(state: &LatentState, sigma: f32, dtype: DType) -> Result<Self> {
        let sigma = state.sigma(sigma);
        let levels: Vec<f32> = state.denoise_mask.iter().map(|share| share * sigma).collect();
        let device = state.latent.device();
        Ok(Self {
            latent: state.latent.clone(),
            rounded: state.latent.to_dtype(dtype)?,
            sigma,
            timesteps: Timesteps::new(&levels, device)?,
            levels: Tensor::from_slice(&levels, (1, levels.len(), 1), device)?,
        })
    }

    fn modality<'a>(&'a self, rope: &'a StreamRope) -> Modality<'a> {
        Modality { latent: &self.rounded, sigma: self.sigma, timesteps: &self.timesteps, rope }
    }

    /// Returns the clean tokens: the latent minus the velocity times the noise level of each token.
    fn denoised(&self, velocity: &Tensor) -> Result<Tensor> {
        &self.latent - velocity.to_dtype(DType::F32)?.broadcast_mul(&self.levels)?
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use ltx2_models::layers::Positions;

    use super::*;

    fn levels(tokens: &NoisyTokens) -> Vec<f32> {
        tokens.levels.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn each_modality_has_its_own_noise_level() -> Result<()> {
        let positions = Positions::new(vec![vec![(0.0, 1.0), (1.0, 2.0)]]);
        let start = Tensor::new(&[[[1f32], [2.]]], &Device::Cpu)?;
        let state = LatentState::new(positions, Some(&start), 1, &Device::Cpu)?;
        let partly_kept = LatentState { denoise_mask: vec![1.0, 0.5], ..state.clone() };
        let noisy = NoisyTokens::new(&partly_kept, 0.5, DType::F32)?;
        assert_eq!((noisy.sigma, levels(&noisy)), (0.5, vec![0.5, 0.25]));
        let frozen = NoisyTokens::new(&state.freeze(), 0.5, DType::F32)?;
        assert_eq!((frozen.sigma, levels(&frozen)), (0.0, vec![0.0, 0.0]));
        // Whatever the velocity is, the prediction of a frozen modality is its clean latent.
        let denoised = frozen.denoised(&Tensor::new(&[[[3f32], [4.]]], &Device::Cpu)?)?;
        assert_eq!(denoised.flatten_all()?.to_vec1::<f32>()?, [1., 2.]);
        Ok(())
    }
}
