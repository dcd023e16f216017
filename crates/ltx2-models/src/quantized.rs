//! Matrices that stay smaller than the run's dtype.

use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{DType, Result, Tensor};
use ltx2_kernels::decode_e4m3;

/// A matrix as its file has it, which is made whole for each product: candle's own products with blocks round the
/// activations to 8 bits.
#[derive(Debug, Clone)]
pub enum QuantizedWeight {
    /// Of GGUF: blocks with common scales.
    Blocks(Arc<QTensor>),
    /// Float8 e4m3: codes `(d_out, d_in)` as bytes, and what all of them are multiplied by.
    Float8 {
        /// As bytes.
        codes: Tensor,
        /// 1 where the file has none.
        scale: f32,
    },
}

impl QuantizedWeight {
    /// The matrix `(d_out, d_in)` in `dtype`.
    pub fn matrix(&self, dtype: DType) -> Result<Tensor> {
        match self {
            Self::Blocks(blocks) => blocks.dequantize(&blocks.device())?.to_dtype(dtype),
            Self::Float8 { codes, scale } => decode_e4m3(codes, *scale, dtype),
        }
    }
}
