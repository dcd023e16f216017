//! Quantised weights.

use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{DType, Result, Tensor};
use ltx2_kernels::CodeFormat;

/// A quantised weight `(d_out, d_in)`, dequantised for each matmul.
///
/// candle's own quantised matmuls are not used, because they round the activations to 8 bits.
#[derive(Debug, Clone)]
pub enum QuantizedWeight {
    /// GGUF blocks with common scales.
    Blocks(Arc<QTensor>),
    /// 8-bit codes.
    Codes {
        /// Codes `(d_out, ...)` as U8.
        codes: Tensor,
        /// Format of the codes.
        format: CodeFormat,
        /// Factor of the decoded values.
        scale: WeightScale,
    },
}

/// Factor of the decoded values of a weight.
#[derive(Debug, Clone)]
pub enum WeightScale {
    /// The same for all elements; 1 if the file has none.
    Uniform(f32),
    /// One per output channel, `(d_out, 1, ...)` in float32.
    Channels(Tensor),
}

impl QuantizedWeight {
    /// Returns the dequantised weight as `dtype`. Codes are multiplied by their scale in float32 and rounded once.
    pub fn dequantize(&self, dtype: DType) -> Result<Tensor> {
        match self {
            Self::Blocks(blocks) => blocks.dequantize(&blocks.device())?.to_dtype(dtype),
            Self::Codes { codes, format, scale } => match scale {
                WeightScale::Uniform(scale) => format.decode(codes, *scale, dtype),
                WeightScale::Channels(scales) => {
                    format.decode(codes, 1.0, DType::F32)?.broadcast_mul(scales)?.to_dtype(dtype)
                }
            },
        }
    }
}
