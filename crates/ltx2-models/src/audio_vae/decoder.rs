//! Decoder from audio latents to log-mel spectrograms (`AudioDecoder`).

use candle_core::{Result, Tensor};
use ltx2_kernels::{conv2d, pixel_norm_silu};

use super::config::{AudioVaeConfig, LATENT_MEL_BINS, TIME_SCALE};
use crate::VarBuilder;
use crate::layers::PerChannelStatistics;

const NORM_EPS: f64 = 1e-6;

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
        let latent = config.z_channels * LATENT_MEL_BINS;
        Ok(Self {
            statistics: PerChannelStatistics::new(latent, &[1, config.z_channels, 1, LATENT_MEL_BINS], vae)?,
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

/// 2-D convolution, causal in time (height) and symmetric in frequency (width).
#[derive(Debug)]
struct CausalConv2d {
    weight: Tensor,
    bias: Tensor,
    kernel: usize,
}

impl CausalConv2d {
    fn new(c_in: usize, c_out: usize, kernel: usize, vb: VarBuilder) -> Result<Self> {
        let vb = vb.pp("conv");
        let weight = vb.get((c_out, c_in, kernel, kernel), "weight")?;
        Ok(Self { weight, bias: vb.get(c_out, "bias")?.reshape((1, c_out, 1, 1))?, kernel })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let pad = self.kernel - 1;
        let x = x.pad_with_zeros(2, pad, 0)?.pad_with_zeros(3, pad / 2, pad - pad / 2)?;
        conv2d(&x, &self.weight, 0)?.broadcast_add(&self.bias)
    }
}

/// Residual block of two convolutions (`ResnetBlock`).
#[derive(Debug)]
struct ResnetBlock {
    conv1: CausalConv2d,
    conv2: CausalConv2d,
    nin_shortcut: Option<CausalConv2d>,
}

impl ResnetBlock {
    fn new(c_in: usize, c_out: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            conv1: CausalConv2d::new(c_in, c_out, 3, vb.pp("conv1"))?,
            conv2: CausalConv2d::new(c_out, c_out, 3, vb.pp("conv2"))?,
            nin_shortcut: match c_in == c_out {
                true => None,
                false => Some(CausalConv2d::new(c_in, c_out, 1, vb.pp("nin_shortcut"))?),
            },
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let inner = self.conv1.forward(&pixel_norm_silu(x, NORM_EPS)?)?;
        let inner = self.conv2.forward(&pixel_norm_silu(&inner, NORM_EPS)?)?;
        match &self.nin_shortcut {
            Some(shortcut) => shortcut.forward(x)? + inner,
            None => x + inner,
        }
    }
}
