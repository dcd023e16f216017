//! One linear layer for every precision.

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;

/// `y = x Wᵀ + b`.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Reads `weight (d_out, d_in)` and `bias (d_out)`.
    pub fn new(d_in: usize, d_out: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self { weight: vb.get((d_out, d_in), "weight")?, bias: Some(vb.get(d_out, "bias")?) })
    }

    /// Reads `weight (d_out, d_in)` alone.
    pub fn without_bias(d_in: usize, d_out: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self { weight: vb.get((d_out, d_in), "weight")?, bias: None })
    }

    /// `x (..., d_in)` to `(..., d_out)`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (d_out, d_in) = self.weight.dims2()?;
        let mut shape = x.dims().to_vec();
        *shape.last_mut().expect("a linear layer's input has a last dimension") = d_out;
        let rows = x.elem_count() / x.dim(D::Minus1)?;
        let y = x.contiguous()?.reshape((rows, d_in))?.matmul(&self.weight.t()?)?;
        let y = match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        };
        y.reshape(shape)
    }
}
