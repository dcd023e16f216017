//! Mean and standard deviation of each latent channel over the training data (`PerChannelStatistics`).

use candle_core::{Result, Tensor};

use crate::VarBuilder;

/// Converts between the latents of an autoencoder and the normalised latents of the diffusion model, which have mean 0
/// and standard deviation 1.
#[derive(Debug, Clone)]
pub struct PerChannelStatistics {
    mean: Tensor,
    std: Tensor,
}

impl PerChannelStatistics {
    /// Reads `per_channel_statistics.mean-of-means` and `std-of-means`.
    ///
    /// `shape` broadcasts them against a latent, for example `(1, channels, 1, 1)`.
    pub fn new(channels: usize, shape: &[usize], vb: VarBuilder) -> Result<Self> {
        let vb = vb.pp("per_channel_statistics");
        Ok(Self {
            mean: vb.get(channels, "mean-of-means")?.reshape(shape)?,
            std: vb.get(channels, "std-of-means")?.reshape(shape)?,
        })
    }

    /// Returns the normalised latent, of the shape of `x`.
    pub fn normalize(&self, x: &Tensor) -> Result<Tensor> {
        x.broadcast_sub(&self.mean)?.broadcast_div(&self.std)
    }

    /// Returns the latent of the autoencoder, of the shape of `x`.
    pub fn un_normalize(&self, x: &Tensor) -> Result<Tensor> {
        x.broadcast_mul(&self.std)?.broadcast_add(&self.mean)
    }
}
