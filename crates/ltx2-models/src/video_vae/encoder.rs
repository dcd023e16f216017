//! Encoder from pixels to video latents (`VideoEncoder`).

use candle_core::{Result, Tensor};
use ltx2_kernels::pixel_norm_silu;

use super::config::{EncoderBlock, VideoVaeConfig};
use super::conv::{CausalConv3d, TimePadding};
use super::resample::{Downsample, patchify};
use super::resnet::{NORM_EPS, ResBlocks};
use crate::VarBuilder;
use crate::layers::{PerChannelStatistics, channels_first, frames_first};

/// Video encoder, causal in time. A single image is a video of one frame.
#[derive(Debug)]
pub struct VideoEncoder {
    patch_size: usize,
    latent_channels: usize,
    statistics: PerChannelStatistics,
    conv_in: CausalConv3d,
    down_blocks: Vec<DownBlock>,
    conv_out: CausalConv3d,
}

/// A block of the encoder.
#[derive(Debug)]
enum DownBlock {
    Res(ResBlocks),
    Compress(Downsample),
}

impl VideoEncoder {
    /// Reads `vae.encoder.*` and `vae.per_channel_statistics.*`.
    pub fn new(config: &VideoVaeConfig, vb: VarBuilder) -> Result<Self> {
        let (latent, padding) = (config.latent_channels, config.encoder_padding);
        let vae = vb.pp("vae");
        let vb = vae.pp("encoder");
        let mut channels = latent;
        let mut down_blocks = Vec::new();
        for (i, block) in config.encoder_blocks.iter().enumerate() {
            let vb = vb.pp("down_blocks").pp(i);
            down_blocks.push(match *block {
                EncoderBlock::Res { layers } => DownBlock::Res(ResBlocks::new(layers, channels, padding, vb)?),
                EncoderBlock::Compress { stride, multiplier } => {
                    let wider = channels * multiplier;
                    let block = Downsample::new(channels, wider, stride, padding, vb)?;
                    channels = wider;
                    DownBlock::Compress(block)
                }
            });
        }
        Ok(Self {
            patch_size: config.patch_size,
            latent_channels: latent,
            statistics: PerChannelStatistics::new(latent, &[1, latent, 1, 1], vae)?,
            conv_in: CausalConv3d::new(3 * config.patch_size.pow(2), latent, padding, vb.pp("conv_in"))?,
            down_blocks,
            // The last output channel is the log-variance of all latent channels, which is not used.
            conv_out: CausalConv3d::new(channels, latent + 1, padding, vb.pp("conv_out"))?,
        })
    }

    /// Pixels `(1, 3, 8k + 1, 32h, 32w)` in [-1, 1] to normalised latent `(1, 128, k + 1, h, w)`.
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let time = TimePadding::Causal;
        let mut x = self.conv_in.forward(&patchify(&frames_first(pixels)?, self.patch_size)?, time)?;
        for block in &self.down_blocks {
            x = match block {
                DownBlock::Res(block) => block.forward(x, time)?,
                DownBlock::Compress(block) => block.forward(&x, time)?,
            };
        }
        let x = self.conv_out.forward(&pixel_norm_silu(&x, NORM_EPS)?, time)?;
        channels_first(&self.statistics.normalize(&x.narrow(1, 0, self.latent_channels)?)?)
    }
}
