//! One linear layer for every precision.

use candle_core::{D, DType, Result, Tensor};
use ltx2_kernels::Product;

use crate::{QuantizedWeight, VarBuilder};

/// `y = x Wᵀ + b`.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
}

/// A matrix `(d_out, d_in)`.
#[derive(Debug, Clone)]
enum Weight {
    Dense(Tensor),
    /// Made whole for each use.
    Quantized(QuantizedWeight, DType),
}

impl Weight {
    fn new(shape: (usize, usize), vb: &VarBuilder) -> Result<Self> {
        match vb.get_quantized(shape, "weight")? {
            Some(packed) => Ok(Self::Quantized(packed, vb.dtype())),
            None => vb.get(shape, "weight").map(Self::Dense),
        }
    }

    fn matrix(&self) -> Result<Tensor> {
        match self {
            Self::Dense(matrix) => Ok(matrix.clone()),
            Self::Quantized(packed, dtype) => packed.matrix(*dtype),
        }
    }
}

impl Linear {
    /// Reads `weight (d_out, d_in)` and `bias (d_out)`.
    pub fn new(d_in: usize, d_out: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self { weight: Weight::new((d_out, d_in), &vb)?, bias: Some(vb.get(d_out, "bias")?) })
    }

    /// Reads `weight (d_out, d_in)` alone.
    pub fn without_bias(d_in: usize, d_out: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self { weight: Weight::new((d_out, d_in), &vb)?, bias: None })
    }

    /// `x (..., d_in)` to `(..., d_out)`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.product(x)?.sum()
    }

    /// The same without its bias, for what adds that while it reads.
    pub fn product(&self, x: &Tensor) -> Result<Product> {
        let weight = self.weight.matrix()?;
        let (d_out, d_in) = weight.dims2()?;
        let mut shape = x.dims().to_vec();
        *shape.last_mut().expect("a linear layer's input has a last dimension") = d_out;
        let rows = x.elem_count() / x.dim(D::Minus1)?;
        let y = x.contiguous()?.reshape((rows, d_in))?.matmul(&weight.t()?)?;
        Product::new(y.reshape(shape)?, self.bias.clone())
    }
}
