//! Layers of the latent upsampler (`ResBlock`), frames-first: `(t, c, h, w)`.

use candle_core::{DType, Result, Tensor};
use ltx2_kernels::{Conv3d, Padding};

use super::config::GROUPS;
use crate::VarBuilder;

const NORM_EPS: f64 = 1e-5;

/// Residual block of two convolutions.
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

/// 3x3x3 convolution with zero padding on all sides.
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

/// Group norm over groups of channels and all frames and pixels.
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
        let std = (group_mean(&centred.sqr()?)? + NORM_EPS)?.sqrt()?;
        let normed = centred.broadcast_div(&std)?.reshape((t, c, h, w))?.to_dtype(x.dtype())?;
        normed.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)
    }
}

/// Mean of each group of `(t, groups, c, hw)`, as `(1, groups, 1, 1)`. One axis is reduced at a time, because long
/// float32 sums lose precision.
fn group_mean(x: &Tensor) -> Result<Tensor> {
    x.mean_keepdim(3)?.mean_keepdim(2)?.mean_keepdim(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn group_mean_of_many_elements_is_accurate() -> Result<()> {
        let x = Tensor::randn(3f32, 0.1, (3, 2, 4, 1 << 16), &Device::Cpu)?;
        let exact = x.to_dtype(DType::F64)?.mean_keepdim((0, 2, 3))?;
        let error = (group_mean(&x)?.to_dtype(DType::F64)? - exact)?.abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(error < 3e-6, "{error:.1e}");
        Ok(())
    }
}
