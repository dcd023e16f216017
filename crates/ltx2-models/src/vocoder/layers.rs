//! One-dimensional convolutions of the vocoder.

use candle_core::{Result, Tensor};
use ltx2_kernels::{conv_transpose1d, conv1d};

use crate::VarBuilder;

/// 1-D convolution that preserves the length.
#[derive(Debug)]
pub(super) struct Conv1d {
    weight: Tensor,
    bias: Option<Tensor>,
    dilation: usize,
}

impl Conv1d {
    /// Reads `weight` and `bias`.
    pub(super) fn new(c_in: usize, c_out: usize, (kernel, dilation): (usize, usize), vb: VarBuilder) -> Result<Self> {
        let bias = Some(vb.get(c_out, "bias")?.reshape((1, c_out, 1))?);
        Ok(Self { bias, ..Self::without_bias(c_in, c_out, (kernel, dilation), vb)? })
    }

    /// Reads `weight`.
    pub(super) fn without_bias(
        c_in: usize,
        c_out: usize,
        (kernel, dilation): (usize, usize),
        vb: VarBuilder,
    ) -> Result<Self> {
        Ok(Self { weight: vb.get((c_out, c_in, kernel), "weight")?, bias: None, dilation })
    }

    /// `(b, c_in, l)` to `(b, c_out, l)`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let padding = self.dilation * (self.weight.dim(2)? - 1) / 2;
        let y = conv1d(x, &self.weight, padding, self.dilation)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

/// Transposed 1-D convolution that multiplies the length by its stride.
#[derive(Debug)]
pub(super) struct ConvTranspose1d {
    weight: Tensor,
    bias: Tensor,
    stride: usize,
}

impl ConvTranspose1d {
    /// Reads `weight` and `bias`.
    pub(super) fn new(c_in: usize, c_out: usize, (kernel, stride): (usize, usize), vb: VarBuilder) -> Result<Self> {
        let weight = vb.get((c_in, c_out, kernel), "weight")?;
        Ok(Self { weight, bias: vb.get(c_out, "bias")?.reshape((1, c_out, 1))?, stride })
    }

    /// `(b, c_in, l)` to `(b, c_out, l · stride)`; one sample longer if kernel and stride differ by an odd number.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        // The fast path of candle has no padding. Cropping both ends is equivalent.
        let full = conv_transpose1d(x, &self.weight, self.stride)?;
        let crop = (self.weight.dim(2)? - self.stride) / 2;
        full.narrow(2, crop, full.dim(2)? - 2 * crop)?.broadcast_add(&self.bias)
    }
}
