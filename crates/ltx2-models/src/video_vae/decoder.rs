//! Decoder from video latents to pixels (`VideoDecoder`).

use candle_core::{Result, Tensor};
use ltx2_kernels::pixel_norm_silu;

use super::config::{DecoderBlock, VideoVaeConfig};
use super::conv::{CausalConv3d, TimePadding};
use super::resample::{Upsample, unpatchify};
use super::resnet::{NORM_EPS, ResBlocks};
use crate::VarBuilder;
use crate::layers::{PerChannelStatistics, channels_first, frames_first};

/// Video decoder.
#[derive(Debug)]
pub struct VideoDecoder {
    patch_size: usize,
    time: TimePadding,
    statistics: PerChannelStatistics,
    conv_in: CausalConv3d,
    up_blocks: Vec<UpBlock>,
    conv_out: CausalConv3d,
}

/// A block of the decoder.
#[derive(Debug)]
enum UpBlock {
    Res(ResBlocks),
    Expand(Upsample),
}

impl VideoDecoder {
    /// Reads `vae.decoder.*` and `vae.per_channel_statistics.*`.
    pub fn new(config: &VideoVaeConfig, vb: VarBuilder) -> Result<Self> {
        let (latent, padding) = (config.latent_channels, config.decoder_padding);
        let vae = vb.pp("vae");
        let vb = vae.pp("decoder");
        let widest = config.decoder_base_channels * 8;
        let mut channels = widest;
        let mut up_blocks = Vec::new();
        for (i, block) in config.decoder_blocks.iter().enumerate() {
            let vb = vb.pp("up_blocks").pp(i);
            up_blocks.push(match *block {
                DecoderBlock::Res { layers } => UpBlock::Res(ResBlocks::new(layers, channels, padding, vb)?),
                DecoderBlock::Expand { stride, multiplier, residual } => {
                    let block = Upsample::new(channels, (stride, multiplier, residual), padding, vb)?;
                    channels /= multiplier;
                    UpBlock::Expand(block)
                }
            });
        }
        Ok(Self {
            patch_size: config.patch_size,
            time: if config.causal_decoder { TimePadding::Causal } else { TimePadding::Symmetric },
            statistics: PerChannelStatistics::new(latent, &[1, latent, 1, 1], vae)?,
            conv_in: CausalConv3d::new(latent, widest, padding, vb.pp("conv_in"))?,
            up_blocks,
            conv_out: CausalConv3d::new(channels, 3 * config.patch_size.pow(2), padding, vb.pp("conv_out"))?,
        })
    }

    /// Normalised latent `(1, 128, k + 1, h, w)` to pixels `(1, 3, 8k + 1, 32h, 32w)` in about [-1, 1].
    pub fn forward(&self, latent: &Tensor) -> Result<Tensor> {
        let x = self.statistics.un_normalize(&frames_first(latent)?)?;
        let mut x = self.conv_in.forward(&x, self.time)?;
        for block in &self.up_blocks {
            x = match block {
                UpBlock::Res(block) => block.forward(x, self.time)?,
                UpBlock::Expand(block) => block.forward(&x, self.time)?,
            };
        }
        let x = self.conv_out.forward(&pixel_norm_silu(&x, NORM_EPS)?, self.time)?;
        channels_first(&unpatchify(&x, self.patch_size)?)
    }
}
