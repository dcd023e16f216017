//! Latent upsampler between two stages (`LatentUpsampler`): spatial, temporal, or both.

mod config;
mod layers;
mod resample;

use candle_core::{Result, Tensor};

use crate::VarBuilder;
use crate::layers::{channels_first, frames_first};
pub use config::{SpatialScale, UpsamplerConfig};
use layers::{GroupNorm, PaddedConv3d, ResBlock};
use resample::Resampler;

/// Upsampler of video latents.
#[derive(Debug)]
pub struct LatentUpsampler {
    initial_conv: PaddedConv3d,
    initial_norm: GroupNorm,
    res_blocks: Vec<ResBlock>,
    upsampler: Resampler,
    post_upsample_res_blocks: Vec<ResBlock>,
    final_conv: PaddedConv3d,
}

impl LatentUpsampler {
    /// Reads the tensors of an upsampler file, which have no prefix.
    pub fn new(config: &UpsamplerConfig, vb: VarBuilder) -> Result<Self> {
        let (channels, mid) = (config.in_channels, config.mid_channels);
        let blocks = |name: &str| -> Result<Vec<ResBlock>> {
            (0..config.blocks_per_stage).map(|i| ResBlock::new(mid, vb.pp(name).pp(i))).collect()
        };
        Ok(Self {
            initial_conv: PaddedConv3d::new(channels, mid, vb.pp("initial_conv"))?,
            initial_norm: GroupNorm::new(mid, vb.pp("initial_norm"))?,
            res_blocks: blocks("res_blocks")?,
            upsampler: Resampler::new(config.resampling, mid, vb.pp("upsampler"))?,
            post_upsample_res_blocks: blocks("post_upsample_res_blocks")?,
            final_conv: PaddedConv3d::new(mid, channels, vb.pp("final_conv"))?,
        })
    }

    /// `(1, c, t, h, w)` to `(1, c, t', h', w')`, both un-normalised latents of the autoencoder.
    ///
    /// `h'` and `w'` are `h` and `w` scaled by [`UpsamplerConfig::spatial_scale`]. `t'` is `2t - 1` if
    /// [`UpsamplerConfig::doubles_time`], else `t`.
    pub fn forward(&self, latent: &Tensor) -> Result<Tensor> {
        let x = self.initial_conv.forward(&frames_first(latent)?)?;
        let mut x = self.initial_norm.forward(&x)?.silu()?;
        for block in &self.res_blocks {
            x = block.forward(&x)?;
        }
        x = self.upsampler.forward(&x)?;
        for block in &self.post_upsample_res_blocks {
            x = block.forward(&x)?;
        }
        channels_first(&self.final_conv.forward(&x)?)
    }
}
