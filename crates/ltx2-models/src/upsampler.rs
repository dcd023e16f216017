//! The latent upsampler: twice the height and width between two stages (`LatentUpsampler`).

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;
use ltx2_kernels::{Conv3d, conv2d};

use crate::config::{ConfigError, Section};
use crate::video_vae::{channels_first, frames_first};

const GROUPS: usize = 32;
const NORM_EPS: f64 = 1e-5;

/// Widths of an upsampler.
#[derive(Debug, Clone, PartialEq)]
pub struct UpsamplerConfig {
    in_channels: usize,
    mid_channels: usize,
    blocks_per_stage: usize,
}

impl UpsamplerConfig {
    /// Reads an upsampler's own configuration; refuses, by name, what is not implemented.
    pub fn new(root: &Section) -> std::result::Result<Self, ConfigError> {
        root.expect("dims", 3)?;
        root.expect("spatial_upsample", true)?;
        root.expect("temporal_upsample", false)?;
        root.expect("spatial_scale", 2.0)?;
        root.expect("rational_resampler", false)?;
        let config = Self {
            in_channels: root.get("in_channels", 128)?,
            mid_channels: root.get("mid_channels", 512)?,
            blocks_per_stage: root.get("num_blocks_per_stage", 4)?,
        };
        if !config.mid_channels.is_multiple_of(GROUPS) {
            return Err(root.unsupported("mid_channels", config.mid_channels, format!("a multiple of {GROUPS}")));
        }
        Ok(config)
    }
}

/// The upsampler.
#[derive(Debug)]
pub struct LatentUpsampler {
    initial_conv: PaddedConv3d,
    initial_norm: GroupNorm,
    res_blocks: Vec<ResBlock>,
    /// Per frame, to four times the channels.
    upsampler: (Tensor, Tensor),
    post_upsample_res_blocks: Vec<ResBlock>,
    final_conv: PaddedConv3d,
}

impl LatentUpsampler {
    /// Reads the file's tensors, which have no prefix.
    pub fn new(config: &UpsamplerConfig, vb: VarBuilder) -> Result<Self> {
        let (channels, mid) = (config.in_channels, config.mid_channels);
        let blocks = |name: &str| -> Result<Vec<ResBlock>> {
            (0..config.blocks_per_stage).map(|i| ResBlock::new(mid, vb.pp(name).pp(i))).collect()
        };
        let up = vb.pp("upsampler.0");
        Ok(Self {
            initial_conv: PaddedConv3d::new(channels, mid, vb.pp("initial_conv"))?,
            initial_norm: GroupNorm::new(mid, vb.pp("initial_norm"))?,
            res_blocks: blocks("res_blocks")?,
            upsampler: (up.get((4 * mid, mid, 3, 3), "weight")?, up.get(4 * mid, "bias")?.reshape((1, 4 * mid, 1, 1))?),
            post_upsample_res_blocks: blocks("post_upsample_res_blocks")?,
            final_conv: PaddedConv3d::new(mid, channels, vb.pp("final_conv"))?,
        })
    }

    /// `(1, c, t, h, w)` to `(1, c, t, 2h, 2w)`, in the autoencoder's latents (not normalised).
    pub fn forward(&self, latent: &Tensor) -> Result<Tensor> {
        let x = self.initial_conv.forward(&frames_first(latent)?)?;
        let mut x = self.initial_norm.forward(&x)?.silu()?;
        for block in &self.res_blocks {
            x = block.forward(&x)?;
        }
        x = pixel_shuffle(&conv2d(&x, &self.upsampler.0, 1)?.broadcast_add(&self.upsampler.1)?)?;
        for block in &self.post_upsample_res_blocks {
            x = block.forward(&x)?;
        }
        channels_first(&self.final_conv.forward(&x)?)
    }
}

/// `(t, 4c, h, w)` to `(t, c, 2h, 2w)`.
fn pixel_shuffle(x: &Tensor) -> Result<Tensor> {
    let (t, c, h, w) = x.dims4()?;
    x.reshape((t, c / 4, 2, 2, h, w))?.permute((0, 1, 4, 2, 5, 3))?.reshape((t, c / 4, 2 * h, 2 * w))
}

/// Two convolutions around a residual.
#[derive(Debug)]
struct ResBlock {
    conv1: PaddedConv3d,
    norm1: GroupNorm,
    conv2: PaddedConv3d,
    norm2: GroupNorm,
}

impl ResBlock {
    fn new(channels: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            conv1: PaddedConv3d::new(channels, channels, vb.pp("conv1"))?,
            norm1: GroupNorm::new(channels, vb.pp("norm1"))?,
            conv2: PaddedConv3d::new(channels, channels, vb.pp("conv2"))?,
            norm2: GroupNorm::new(channels, vb.pp("norm2"))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let inner = self.norm1.forward(&self.conv1.forward(x)?)?.silu()?;
        (self.norm2.forward(&self.conv2.forward(&inner)?)? + x)?.silu()
    }
}

/// A 3x3x3 convolution with zeros on all sides.
#[derive(Debug)]
struct PaddedConv3d(Conv3d);

impl PaddedConv3d {
    fn new(c_in: usize, c_out: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self(Conv3d::new(&vb.get((c_out, c_in, 3, 3, 3), "weight")?, &vb.get(c_out, "bias")?)?))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.0.forward(&x.pad_with_zeros(0, 1, 1)?, 1)
    }
}

/// Norm over groups of channels and all of time and space.
#[derive(Debug)]
struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
}

impl GroupNorm {
    fn new(channels: usize, vb: VarBuilder) -> Result<Self> {
        let shape = (1, channels, 1, 1);
        Ok(Self {
            weight: vb.get(channels, "weight")?.reshape(shape)?,
            bias: vb.get(channels, "bias")?.reshape(shape)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (t, c, h, w) = x.dims4()?;
        let grouped = x.to_dtype(DType::F32)?.reshape((t, GROUPS, c / GROUPS * h * w))?;
        let centred = grouped.broadcast_sub(&grouped.mean_keepdim((0, 2))?)?;
        let spread = (centred.sqr()?.mean_keepdim((0, 2))? + NORM_EPS)?.sqrt()?;
        let normed = centred.broadcast_div(&spread)?.reshape((t, c, h, w))?.to_dtype(x.dtype())?;
        normed.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)
    }
}
