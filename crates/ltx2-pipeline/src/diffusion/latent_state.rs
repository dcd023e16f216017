//! The latents of one modality while they are denoised (`LatentState`).

use candle_core::{DType, Device, Result, Tensor};
use ltx2_models::layers::Positions;

/// Tokens with what is known about each. Immutable: conditioning and steps make new ones.
#[derive(Debug, Clone)]
pub struct LatentState {
    /// Noisy tokens, `(1, n, channels)`, float32.
    pub latent: Tensor,
    /// How much of each token is to be made: 1 all of it, 0 nothing.
    pub denoise_mask: Vec<f32>,
    /// Where each token is.
    pub positions: Positions,
    /// What the tokens are where they are not to be made, `(1, n, channels)`.
    pub clean_latent: Tensor,
}

impl LatentState {
    /// Everything to be made, from `start` `(1, n, channels)` or from nothing.
    pub fn new(positions: Positions, start: Option<&Tensor>, channels: usize, device: &Device) -> Result<Self> {
        let n = positions.tokens();
        let latent = match start {
            Some(start) => start.reshape((1, n, channels))?,
            None => Tensor::zeros((1, n, channels), DType::F32, device)?,
        };
        Ok(Self { clean_latent: latent.clone(), latent, denoise_mask: vec![1.0; n], positions })
    }

    /// The mask as `(1, n, 1)`.
    pub fn mask(&self) -> Result<Tensor> {
        Tensor::from_slice(&self.denoise_mask, (1, self.denoise_mask.len(), 1), self.latent.device())
    }

    /// `denoised` where tokens are to be made, the clean latent where not; in the dtype of `denoised`.
    pub fn blend(&self, denoised: Tensor) -> Result<Tensor> {
        if self.denoise_mask.iter().all(|share| *share == 1.0) {
            return Ok(denoised);
        }
        let dtype = denoised.dtype();
        let mask = self.mask()?.to_dtype(dtype)?;
        denoised.broadcast_mul(&mask)? + self.clean_latent.to_dtype(dtype)?.broadcast_mul(&(1.0 - &mask)?)?
    }

    /// The first `n` tokens' latents: conditioning appends its own behind them.
    pub fn first_tokens(&self, n: usize) -> Result<Tensor> {
        self.latent.narrow(1, 0, n)
    }
}
