//! Linear layer with a dense or a quantised weight.

use candle_core::{D, DType, Result, Tensor};
use ltx2_kernels::PendingBias;

use crate::quantized::QuantizedWeight;
use crate::var_builder::VarBuilder;

/// `y = x Wᵀ + b`.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: LinearWeight,
    bias: Option<Tensor>,
}

/// A weight `(d_out, d_in)`.
#[derive(Debug, Clone)]
enum LinearWeight {
    Dense(Tensor),
    /// Dequantised to this dtype for each matmul.
    Quantized(QuantizedWeight, DType),
}

impl LinearWeight {
    fn new(shape: (usize, usize), vb: &VarBuilder) -> Result<Self> {
        match vb.get_quantized(shape, "weight")? {
            Some(weight) => Ok(Self::Quantized(weight, vb.dtype())),
            None => vb.get(shape, "weight").map(Self::Dense),
        }
    }

    fn dense(&self) -> Result<Tensor> {
        match self {
            Self::Dense(weight) => Ok(weight.clone()),
            Self::Quantized(weight, dtype) => weight.dequantize(*dtype),
        }
    }
}

impl Linear {
    /// Reads `weight (d_out, d_in)` and `bias (d_out)`.
    pub fn new(d_in: usize, d_out: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self { weight: LinearWeight::new((d_out, d_in), &vb)?, bias: Some(vb.get(d_out, "bias")?) })
    }

    /// Reads `weight (d_out, d_in)` only.
    pub fn without_bias(d_in: usize, d_out: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self { weight: LinearWeight::new((d_out, d_in), &vb)?, bias: None })
    }

    /// `x (..., d_in)` to `(..., d_out)`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.product(x)?.sum()
    }

    /// `x Wᵀ` with the bias still pending, for kernels that fuse the bias add.
    pub fn product(&self, x: &Tensor) -> Result<PendingBias> {
        let weight = self.weight.dense()?;
        let (d_out, d_in) = weight.dims2()?;
        let mut shape = x.dims().to_vec();
        *shape.last_mut().expect("the input of a linear layer has a last dimension") = d_out;
        let rows = x.elem_count() / x.dim(D::Minus1)?;
        let x = x.contiguous()?.reshape((rows, d_in))?;
        // candle's CPU product of bfloat16 is in float32 anyway; with the bias it is rounded once.
        if let (true, Some(bias)) = (x.device().is_cpu() && x.dtype() == DType::BF16, &self.bias) {
            let y = x.to_dtype(DType::F32)?.matmul(&weight.to_dtype(DType::F32)?.t()?)?;
            return Ok(y.broadcast_add(&bias.to_dtype(DType::F32)?)?.to_dtype(DType::BF16)?.reshape(shape)?.into());
        }
        PendingBias::new(x.matmul(&weight.t()?)?.reshape(shape)?, self.bias.clone())
    }
}
