//! What an upsampler is made of besides its resampling (`ResBlock`). Frames come first: `(t, c, h, w)`.

use candle_core::{DType, Result, Tensor};
use ltx2_kernels::{Conv3d, Padding};

use super::config::GROUPS;
use crate::VarBuilder;

const NORM_EPS: f64 = 1e-5;

/// Two convolutions around a residual.
#[derive(Debug)]
pub(super) struct ResBlock {
    conv1: PaddedConv3d,
    norm1: GroupNorm,
    conv2: PaddedConv3d,
    norm2: GroupNorm,
}

impl ResBlock {
    pub(super) fn new(channels: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            conv1: PaddedConv3d::new(channels, channels, vb.pp("conv1"))?,
            norm1: GroupNorm::new(channels, vb.pp("norm1"))?,
            conv2: PaddedConv3d::new(channels, channels, vb.pp("conv2"))?,
            norm2: GroupNorm::new(channels, vb.pp("norm2"))?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let inner = self.norm1.forward(&self.conv1.forward(x)?)?.silu()?;
        (self.norm2.forward(&self.conv2.forward(&inner)?)? + x)?.silu()
    }
}

/// A 3x3x3 convolution with zeros on all sides.
#[derive(Debug)]
pub(super) struct PaddedConv3d(Conv3d);

impl PaddedConv3d {
    pub(super) fn new(c_in: usize, c_out: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self(Conv3d::new(&vb.get((c_out, c_in, 3, 3, 3), "weight")?, &vb.get(c_out, "bias")?)?))
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.0.forward(&x.pad_with_zeros(0, 1, 1)?, &Padding::zeros(1))
    }
}

/// Norm over groups of channels and all of time and space.
#[derive(Debug)]
pub(super) struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
}

impl GroupNorm {
    pub(super) fn new(channels: usize, vb: VarBuilder) -> Result<Self> {
        let shape = (1, channels, 1, 1);
        Ok(Self {
            weight: vb.get(channels, "weight")?.reshape(shape)?,
            bias: vb.get(channels, "bias")?.reshape(shape)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (t, c, h, w) = x.dims4()?;
        let grouped = x.to_dtype(DType::F32)?.reshape((t, GROUPS, c / GROUPS, h * w))?;
        let centred = grouped.broadcast_sub(&group_mean(&grouped)?)?;
        let spread = (group_mean(&centred.sqr()?)? + NORM_EPS)?.sqrt()?;
        let normed = centred.broadcast_div(&spread)?.reshape((t, c, h, w))?.to_dtype(x.dtype())?;
        normed.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)
    }
}

/// The mean of each group `(t, groups, c, hw)`, an axis at a time: long sums in float32 lose digits.
fn group_mean(x: &Tensor) -> Result<Tensor> {
    x.mean_keepdim(3)?.mean_keepdim(2)?.mean_keepdim(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn means_of_many_numbers_keep_their_digits() -> Result<()> {
        let x = Tensor::randn(3f32, 0.1, (3, 2, 4, 1 << 16), &Device::Cpu)?;
        let exact = x.to_dtype(DType::F64)?.mean_keepdim((0, 2, 3))?;
        let apart = (group_mean(&x)?.to_dtype(DType::F64)? - exact)?.abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(apart < 3e-6, "{apart:.1e}");
        Ok(())
    }
}
