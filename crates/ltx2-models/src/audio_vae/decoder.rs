//! Decoder from audio latents to log-mel spectrograms (`AudioDecoder`).

use candle_core::{Result, Tensor};
use ltx2_kernels::pixel_norm_silu;

use super::config::{AudioVaeConfig, TIME_SCALE};
use super::layers::{CausalConv2d, NORM_EPS, ResnetBlock, statistics};
use crate::VarBuilder;
use crate::layers::PerChannelStatistics;

/// Audio decoder, causal in time.
#[derive(Debug)]
pub struct AudioDecoder {
    config: AudioVaeConfig,
    statistics: PerChannelStatistics,
    conv_in: CausalConv2d,
    mid: [ResnetBlock; 2],
    /// Levels from the coarsest to the finest.
    up: Vec<UpLevel>,
    conv_out: CausalConv2d,
}

/// Residual blocks of one resolution, and the upsampling to the next one.
#[derive(Debug)]
struct UpLevel {
    blocks: Vec<ResnetBlock>,
    upsample: Option<CausalConv2d>,
}

impl AudioDecoder {
    /// Reads `audio_vae.decoder.*` and `audio_vae.per_channel_statistics.*`.
    pub fn new(config: &AudioVaeConfig, vb: VarBuilder) -> Result<Self> {
        let vae = vb.pp("audio_vae");
        let vb = vae.pp("decoder");
        let width = |level: usize| config.ch * config.ch_mult[level];
        let widest = width(config.ch_mult.len() - 1);
        let mut channels = widest;
        let mut up = Vec::new();
        for level in (0..config.ch_mult.len()).rev() {
            let vb = vb.pp("up").pp(level);
            let mut blocks = Vec::new();
            for i in 0..=config.num_res_blocks {
                blocks.push(ResnetBlock::new(channels, width(level), vb.pp("block").pp(i))?);
                channels = width(level);
            }
            let upsample = match level {
                0 => None,
                _ => Some(CausalConv2d::new(channels, channels, 3, vb.pp("upsample.conv"))?),
            };
            up.push(UpLevel { blocks, upsample });
        }
        Ok(Self {
            statistics: statistics(config, vae)?,
            conv_in: CausalConv2d::new(config.z_channels, widest, 3, vb.pp("conv_in"))?,
            mid: [
                ResnetBlock::new(widest, widest, vb.pp("mid.block_1"))?,
                ResnetBlock::new(widest, widest, vb.pp("mid.block_2"))?,
            ],
            up,
            conv_out: CausalConv2d::new(channels, config.out_ch, 3, vb.pp("conv_out"))?,
            config: config.clone(),
        })
    }

    /// Latent `(1, 8, t, 16)` to log-mel spectrogram `(1, 2, 4t - 3, 64)`.
    pub fn forward(&self, latent: &Tensor) -> Result<Tensor> {
        let frames = (latent.dim(2)? * TIME_SCALE).saturating_sub(TIME_SCALE - 1).max(1);
        let mut x = self.conv_in.forward(&self.statistics.un_normalize(latent)?)?;
        for block in &self.mid {
            x = block.forward(&x)?;
        }
        for level in &self.up {
            for block in &level.blocks {
                x = block.forward(&x)?;
            }
            if let Some(conv) = &level.upsample {
                let (_, _, h, w) = x.dims4()?;
                x = conv.forward(&x.contiguous()?.upsample_nearest2d(2 * h, 2 * w)?)?;
                // The first frame is not doubled: one of its two copies is dropped.
                x = x.narrow(2, 1, 2 * h - 1)?;
            }
        }
        let x = self.conv_out.forward(&pixel_norm_silu(&x, NORM_EPS)?)?;
        x.narrow(2, 0, frames)?.narrow(3, 0, self.config.mel_bins)
    }
}
