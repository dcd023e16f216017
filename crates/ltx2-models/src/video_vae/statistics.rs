//! Mean and spread of each latent channel over the training data.

use candle_core::{Result, Tensor};

use crate::VarBuilder;

/// Between the autoencoder's latents and the diffusion's, which have mean 0 and spread 1.
#[derive(Debug, Clone)]
pub struct PerChannelStatistics {
    mean: Tensor,
    std: Tensor,
}

impl PerChannelStatistics {
    /// Reads `mean-of-means` and `std-of-means`; they are applied along the dimension that `shape` leaves open, such
    /// as `(1, channels, 1, 1)`.
    pub fn new(channels: usize, shape: &[usize], vb: VarBuilder) -> Result<Self> {
        let vb = vb.pp("per_channel_statistics");
        Ok(Self {
            mean: vb.get(channels, "mean-of-means")?.reshape(shape)?,
            std: vb.get(channels, "std-of-means")?.reshape(shape)?,
        })
    }

    /// To mean 0 and spread 1.
    pub fn normalize(&self, x: &Tensor) -> Result<Tensor> {
        x.broadcast_sub(&self.mean)?.broadcast_div(&self.std)
    }

    /// Back from mean 0 and spread 1.
    pub fn un_normalize(&self, x: &Tensor) -> Result<Tensor> {
        x.broadcast_mul(&self.std)?.broadcast_add(&self.mean)
    }
}
