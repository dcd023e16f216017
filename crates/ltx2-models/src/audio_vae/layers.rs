//! Layers shared by the audio encoder and decoder.

use candle_core::{Result, Tensor};
use ltx2_kernels::{conv2d, conv2d_strided, pixel_norm_silu};

use super::config::{AudioVaeConfig, LATENT_MEL_BINS};
use crate::VarBuilder;
use crate::layers::PerChannelStatistics;

pub(super) const NORM_EPS: f64 = 1e-6;

/// Reads `per_channel_statistics.*`, which has a value for each latent channel and mel bin.
pub(super) fn statistics(config: &AudioVaeConfig, vb: VarBuilder) -> Result<PerChannelStatistics> {
    let channels = config.z_channels;
    PerChannelStatistics::new(channels * LATENT_MEL_BINS, &[1, channels, 1, LATENT_MEL_BINS], vb)
}

/// 2-D convolution, causal in time (height) and symmetric in frequency (width).
#[derive(Debug)]
pub(super) struct CausalConv2d {
    weight: Tensor,
    bias: Tensor,
    kernel: usize,
}

impl CausalConv2d {
    pub(super) fn new(c_in: usize, c_out: usize, kernel: usize, vb: VarBuilder) -> Result<Self> {
        let vb = vb.pp("conv");
        let weight = vb.get((c_out, c_in, kernel, kernel), "weight")?;
        Ok(Self { weight, bias: vb.get(c_out, "bias")?.reshape((1, c_out, 1, 1))?, kernel })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let pad = self.kernel - 1;
        let x = x.pad_with_zeros(2, pad, 0)?.pad_with_zeros(3, pad / 2, pad - pad / 2)?;
        conv2d(&x, &self.weight, 0)?.broadcast_add(&self.bias)
    }
}

/// Halving of time and frequency by a strided convolution, causal in time (`Downsample`).
#[derive(Debug)]
pub(super) struct Downsample {
    weight: Tensor,
    bias: Tensor,
}

impl Downsample {
    pub(super) fn new(channels: usize, vb: VarBuilder) -> Result<Self> {
        let vb = vb.pp("conv");
        let weight = vb.get((channels, channels, 3, 3), "weight")?;
        Ok(Self { weight, bias: vb.get(channels, "bias")?.reshape((1, channels, 1, 1))? })
    }

    /// `(b, c, t, f)` to `(b, c, ceil(t / 2), f / 2)`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.pad_with_zeros(2, 2, 0)?.pad_with_zeros(3, 0, 1)?;
        conv2d_strided(&x, &self.weight, 2)?.broadcast_add(&self.bias)
    }
}

/// Residual block of two convolutions (`ResnetBlock`).
#[derive(Debug)]
pub(super) struct ResnetBlock {
    conv1: CausalConv2d,
    conv2: CausalConv2d,
    nin_shortcut: Option<CausalConv2d>,
}

impl ResnetBlock {
    pub(super) fn new(c_in: usize, c_out: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            conv1: CausalConv2d::new(c_in, c_out, 3, vb.pp("conv1"))?,
            conv2: CausalConv2d::new(c_out, c_out, 3, vb.pp("conv2"))?,
            nin_shortcut: match c_in == c_out {
                true => None,
                false => Some(CausalConv2d::new(c_in, c_out, 1, vb.pp("nin_shortcut"))?),
            },
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let inner = self.conv1.forward(&pixel_norm_silu(x, NORM_EPS)?)?;
        let inner = self.conv2.forward(&pixel_norm_silu(&inner, NORM_EPS)?)?;
        match &self.nin_shortcut {
            Some(shortcut) => shortcut.forward(x)? + inner,
            None => x + inner,
        }
    }
}
