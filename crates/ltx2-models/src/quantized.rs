//! Quantised weights.

use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{DType, Result, Tensor};
use ltx2_kernels::decode_e4m3;

/// A quantised weight `(d_out, d_in)`, dequantised for each matmul.
///
/// candle's own quantised matmuls are not used, because they round the activations to 8 bits.
#[derive(Debug, Clone)]
pub enum QuantizedWeight {
    /// GGUF blocks with common scales.
    Blocks(Arc<QTensor>),
    /// Float8 e4m3.
    Float8 {
        /// Codes `(d_out, d_in)` as U8.
        codes: Tensor,
        /// Factor of all elements; 1 if the file has none.
        scale: f32,
    },
}

impl QuantizedWeight {
    /// Returns the dequantised weight as `dtype`.
    pub fn dequantize(&self, dtype: DType) -> Result<Tensor> {
        match self {
            Self::Blocks(blocks) => blocks.dequantize(&blocks.device())?.to_dtype(dtype),
            Self::Float8 { codes, scale } => decode_e4m3(codes, *scale, dtype),
        }
    }
}
