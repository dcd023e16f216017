//! Latents of one modality during denoising (`LatentState`).

use candle_core::{DType, Device, Result, Tensor};
use ltx2_models::layers::Positions;

/// Tokens of one modality with their masks and positions. Immutable: conditioning and steps return new states.
#[derive(Debug, Clone)]
pub struct LatentState {
    /// Noisy tokens, `(1, n, channels)`, float32.
    pub latent: Tensor,
    /// Share of each token that is generated: 1 for a token without conditioning, 0 for one that is kept.
    pub denoise_mask: Vec<f32>,
    /// Time and place of each token.
    pub positions: Positions,
    /// Tokens without noise, `(1, n, channels)`; known where the mask is below 1.
    pub clean_latent: Tensor,
    /// Whether the whole modality is kept. The transformer sees it at noise level 0.
    pub freeze: Freeze,
}

/// Whether a modality is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freeze {
    /// It is generated.
    Off,
    /// It is kept as it is, and steps do not change it.
    Clean,
    /// It starts from noise, which steps turn into the clean latent, although the transformer sees it at noise level 0.
    /// The official retake with a kept modality does so; only its traces are run this way.
    Noised,
}

impl LatentState {
    /// Returns a state whose tokens are all generated. `start` is `(1, n, channels)`; `None` starts from zeros.
    pub fn new(positions: Positions, start: Option<&Tensor>, channels: usize, device: &Device) -> Result<Self> {
        let n = positions.tokens();
        let latent = match start {
            Some(start) => start.reshape((1, n, channels))?,
            None => Tensor::zeros((1, n, channels), DType::F32, device)?,
        };
        Ok(Self { clean_latent: latent.clone(), latent, denoise_mask: vec![1.0; n], positions, freeze: Freeze::Off })
    }

    /// Returns the state with all tokens kept as their clean latents (`ModalitySpec.frozen`).
    pub fn freeze(self) -> Self {
        let denoise_mask = vec![0.0; self.denoise_mask.len()];
        Self { latent: self.clean_latent.clone(), denoise_mask, freeze: Freeze::Clean, ..self }
    }

    /// Returns the state with other noisy tokens. A clean frozen state stays as it is.
    pub fn with_latent(&self, latent: Tensor) -> Self {
        if self.freeze == Freeze::Clean { self.clone() } else { Self { latent, ..self.clone() } }
    }

    /// Returns the noise level of the modality when the schedule is at `sigma`: 0 if frozen.
    pub fn sigma(&self, sigma: f32) -> f32 {
        if self.freeze == Freeze::Off { sigma } else { 0.0 }
    }

    /// Returns the mask as `(1, n, 1)`.
    pub fn mask(&self) -> Result<Tensor> {
        Tensor::from_slice(&self.denoise_mask, (1, self.denoise_mask.len(), 1), self.latent.device())
    }

    /// Blends `denoised` with the clean latent by the mask, in the dtype of `denoised`.
    pub fn blend(&self, denoised: Tensor) -> Result<Tensor> {
        if self.denoise_mask.iter().all(|share| *share == 1.0) {
            return Ok(denoised);
        }
        let dtype = denoised.dtype();
        let mask = self.mask()?.to_dtype(dtype)?;
        denoised.broadcast_mul(&mask)? + self.clean_latent.to_dtype(dtype)?.broadcast_mul(&(1.0 - &mask)?)?
    }

    /// Returns the first `n` tokens; conditioning appends its tokens after those of the target.
    pub fn first_tokens(&self, n: usize) -> Result<Tensor> {
        self.latent.narrow(1, 0, n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> LatentState {
        let positions = Positions::new(vec![vec![(0.0, 1.0), (1.0, 2.0)]]);
        let start = Tensor::new(&[[[1f32], [2.]]], &Device::Cpu).unwrap();
        LatentState::new(positions, Some(&start), 1, &Device::Cpu).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn a_frozen_state_has_noise_level_zero_and_keeps_its_tokens() -> Result<()> {
        let noisy = state().with_latent(Tensor::new(&[[[7f32], [8.]]], &Device::Cpu)?);
        assert_eq!((values(&noisy.latent), noisy.sigma(0.7)), (vec![7., 8.], 0.7));
        let frozen = noisy.freeze();
        assert_eq!((values(&frozen.latent), frozen.sigma(0.7)), (vec![1., 2.], 0.0));
        assert_eq!(frozen.denoise_mask, [0.0, 0.0]);
        let stepped = frozen.with_latent(Tensor::new(&[[[9f32], [9.]]], &Device::Cpu)?);
        assert_eq!(values(&stepped.latent), [1., 2.]);
        assert_eq!(values(&frozen.blend(Tensor::new(&[[[9f32], [9.]]], &Device::Cpu)?)?), [1., 2.]);
        Ok(())
    }

    #[test]
    fn blend_weighs_the_prediction_by_the_mask() -> Result<()> {
        let state = LatentState { denoise_mask: vec![0.25, 1.0], ..state() };
        assert_eq!(values(&state.blend(Tensor::new(&[[[5f32], [6.]]], &Device::Cpu)?)?), [2., 6.]);
        Ok(())
    }
}
