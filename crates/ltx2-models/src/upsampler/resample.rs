//! Resampling layer of the latent upsampler (`PixelShuffleND`, `SpatialRationalResampler`), frames-first:
//! `(t, c, h, w)`. A convolution adds channels, which are then moved to rows, columns and frames.

use candle_core::{Result, Tensor};
use ltx2_kernels::{conv2d, depthwise_conv2d};

use super::config::{Resampling, SpatialScale};
use super::layers::PaddedConv3d;
use crate::VarBuilder;

const BLUR_KERNEL: usize = 5;

/// Resampling layer. The number of channels stays the same.
#[derive(Debug)]
pub(super) enum Resampler {
    Spatial(FrameConv),
    Rational { conv: FrameConv, scale: SpatialScale, blur_down: Option<Tensor> },
    Temporal(PaddedConv3d),
    SpatioTemporal(PaddedConv3d),
}

impl Resampler {
    pub(super) fn new(resampling: Resampling, channels: usize, vb: VarBuilder) -> Result<Self> {
        let frame_conv = |factor: usize, name: &str| FrameConv::new(channels, factor * channels, vb.pp(name));
        let conv = |factor: usize| PaddedConv3d::new(channels, factor * channels, vb.pp("0"));
        Ok(match resampling {
            Resampling::Spatial => Self::Spatial(frame_conv(4, "0")?),
            Resampling::Rational(scale) => Self::Rational {
                conv: frame_conv(scale.numerator.pow(2), "conv")?,
                scale,
                blur_down: match scale.denominator {
                    1 => None,
                    _ => Some(vb.get((1, 1, BLUR_KERNEL, BLUR_KERNEL), "blur_down.kernel")?),
                },
            },
            Resampling::Temporal => Self::Temporal(conv(2)?),
            Resampling::SpatioTemporal => Self::SpatioTemporal(conv(8)?),
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Spatial(conv) => pixel_shuffle(&conv.forward(x)?, 2),
            Self::Rational { conv, scale, blur_down } => {
                let x = pixel_shuffle(&conv.forward(x)?, scale.numerator)?;
                match blur_down {
                    Some(kernel) => depthwise_conv2d(&x, kernel, scale.denominator),
                    None => Ok(x),
                }
            }
            Self::Temporal(conv) => without_first(&frame_shuffle(&conv.forward(x)?, 1)?),
            Self::SpatioTemporal(conv) => pixel_shuffle(&without_first(&frame_shuffle(&conv.forward(x)?, 2 * 2)?)?, 2),
        }
    }
}

/// `(t, f² c, h, w)` to `(t, c, f h, f w)`.
fn pixel_shuffle(x: &Tensor, factor: usize) -> Result<Tensor> {
    let (t, c, h, w) = x.dims4()?;
    let c = c / factor.pow(2);
    let x = x.reshape((t, c, factor, factor, h, w))?;
    x.permute((0, 1, 4, 2, 5, 3))?.reshape((t, c, factor * h, factor * w))
}

/// `(t, c · 2 · inner, h, w)` to `(2t, c · inner, h, w)`.
fn frame_shuffle(x: &Tensor, inner: usize) -> Result<Tensor> {
    let (t, c, h, w) = x.dims4()?;
    let x = x.reshape((t, c / 2 / inner, 2, inner * h * w))?;
    x.transpose(1, 2)?.reshape((2 * t, c / 2, h, w))
}

/// Drops the first frame. The first latent frame is one video frame, so it is not doubled.
fn without_first(x: &Tensor) -> Result<Tensor> {
    x.narrow(0, 1, x.dim(0)? - 1)
}

/// 3x3 convolution of each frame.
#[derive(Debug)]
pub(super) struct FrameConv {
    weight: Tensor,
    bias: Tensor,
}

impl FrameConv {
    fn new(c_in: usize, c_out: usize, vb: VarBuilder) -> Result<Self> {
        let weight = vb.get((c_out, c_in, 3, 3), "weight")?;
        Ok(Self { weight, bias: vb.get(c_out, "bias")?.reshape((1, c_out, 1, 1))? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        conv2d(x, &self.weight, 1)?.broadcast_add(&self.bias)
    }
}
