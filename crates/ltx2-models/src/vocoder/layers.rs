//! One-dimensional convolutions as a vocoder has them.

use candle_core::{Result, Tensor};
use ltx2_kernels::{conv_transpose1d, conv1d};

use crate::VarBuilder;

/// A 1-D convolution that keeps the length.
#[derive(Debug)]
pub(super) struct Conv1d {
    weight: Tensor,
    bias: Option<Tensor>,
    dilation: usize,
}

impl Conv1d {
    pub(super) fn new(c_in: usize, c_out: usize, (kernel, dilation): (usize, usize), vb: VarBuilder) -> Result<Self> {
        let bias = Some(vb.get(c_out, "bias")?.reshape((1, c_out, 1))?);
        Ok(Self { bias, ..Self::without_bias(c_in, c_out, (kernel, dilation), vb)? })
    }

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

/// A 1-D convolution that multiplies the length by its stride.
#[derive(Debug)]
pub(super) struct ConvTranspose1d {
    weight: Tensor,
    bias: Tensor,
    stride: usize,
}

impl ConvTranspose1d {
    pub(super) fn new(c_in: usize, c_out: usize, (kernel, stride): (usize, usize), vb: VarBuilder) -> Result<Self> {
        let weight = vb.get((c_in, c_out, kernel), "weight")?;
        Ok(Self { weight, bias: vb.get(c_out, "bias")?.reshape((1, c_out, 1))?, stride })
    }

    /// `(b, c_in, l)` to `(b, c_out, l · stride)`, one sample longer where kernel and stride differ by an odd number.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        // candle's fast form has no padding: cutting the ends off afterwards is the same.
        let whole = conv_transpose1d(x, &self.weight, self.stride)?;
        let cut = (self.weight.dim(2)? - self.stride) / 2;
        whole.narrow(2, cut, whole.dim(2)? - 2 * cut)?.broadcast_add(&self.bias)
    }
}
