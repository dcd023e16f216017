//! Encoder from log-mel spectrograms to audio latents (`AudioEncoder`).

use candle_core::{Result, Tensor};
use ltx2_kernels::pixel_norm_silu;

use super::config::AudioVaeConfig;
use super::layers::{CausalConv2d, Downsample, NORM_EPS, ResnetBlock, statistics};
use crate::VarBuilder;
use crate::layers::PerChannelStatistics;

/// Audio encoder, causal in time.
#[derive(Debug)]
pub struct AudioEncoder {
    statistics: PerChannelStatistics,
    conv_in: CausalConv2d,
    /// Levels from the finest to the coarsest.
    down: Vec<DownLevel>,
    mid: [ResnetBlock; 2],
    conv_out: CausalConv2d,
    z_channels: usize,
}

/// Residual blocks of one resolution, and the downsampling to the next one.
#[derive(Debug)]
struct DownLevel {
    blocks: Vec<ResnetBlock>,
    downsample: Option<Downsample>,
}

impl AudioEncoder {
    /// Reads `audio_vae.encoder.*` and `audio_vae.per_channel_statistics.*`.
    pub fn new(config: &AudioVaeConfig, vb: VarBuilder) -> Result<Self> {
        let vae = vb.pp("audio_vae");
        let vb = vae.pp("encoder");
        let mut channels = config.ch;
        let mut down = Vec::new();
        for (level, factor) in config.ch_mult.iter().enumerate() {
            let (vb, width) = (vb.pp("down").pp(level), config.ch * factor);
            let mut blocks = Vec::new();
            for i in 0..config.num_res_blocks {
                blocks.push(ResnetBlock::new(channels, width, vb.pp("block").pp(i))?);
                channels = width;
            }
            let coarsest = level + 1 == config.ch_mult.len();
            let downsample = (!coarsest).then(|| Downsample::new(channels, vb.pp("downsample"))).transpose()?;
            down.push(DownLevel { blocks, downsample });
        }
        Ok(Self {
            statistics: statistics(config, vae)?,
            conv_in: CausalConv2d::new(config.in_channels, config.ch, 3, vb.pp("conv_in"))?,
            down,
            mid: [
                ResnetBlock::new(channels, channels, vb.pp("mid.block_1"))?,
                ResnetBlock::new(channels, channels, vb.pp("mid.block_2"))?,
            ],
            // Means and log-variances. The means are the latents.
            conv_out: CausalConv2d::new(channels, 2 * config.z_channels, 3, vb.pp("conv_out"))?,
            z_channels: config.z_channels,
        })
    }

    /// Log-mel spectrogram `(1, 2, t, 64)` to normalised latent `(1, 8, ceil(t / 4), 16)`.
    pub fn forward(&self, log_mel: &Tensor) -> Result<Tensor> {
        let mut x = self.conv_in.forward(log_mel)?;
        for level in &self.down {
            for block in &level.blocks {
                x = block.forward(&x)?;
            }
            if let Some(downsample) = &level.downsample {
                x = downsample.forward(&x)?;
            }
        }
        for block in &self.mid {
            x = block.forward(&x)?;
        }
        let moments = self.conv_out.forward(&pixel_norm_silu(&x, NORM_EPS)?)?;
        self.statistics.normalize(&moments.narrow(1, 0, self.z_channels)?)
    }
}
