//! All hidden states of a prompt to one feature per token (`FeatureExtractorV1`, of the 19B models).

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;

use crate::linear::Linear;

/// Normalises each layer's hidden states by their mean and range, and projects all layers together.
#[derive(Debug, Clone)]
pub struct FeatureExtractor {
    aggregate_embed: Linear,
}

impl FeatureExtractor {
    /// Reads `text_embedding_projection.aggregate_embed` for `layers` hidden states of width `dim`.
    pub fn new(dim: usize, layers: usize, vb: VarBuilder) -> Result<Self> {
        let vb = vb.pp("text_embedding_projection.aggregate_embed");
        Ok(Self { aggregate_embed: Linear::without_bias(dim * layers, dim, vb)? })
    }

    /// `hidden_states`, `(1, n, d)` each, to `(1, n, d)`. Padding is not among the n tokens.
    pub fn forward(&self, hidden_states: &[Tensor]) -> Result<Tensor> {
        let normed = hidden_states.iter().map(mean_range_norm).collect::<Result<Vec<_>>>()?;
        // The projection's input runs over widths first, layers innermost.
        let (b, n, d) = normed[0].dims3()?;
        let all = Tensor::stack(&normed, 3)?.reshape((b, n, d * normed.len()))?;
        self.aggregate_embed.forward(&all)
    }
}

/// `8 (x - mean) / (max - min)` over a layer's tokens and widths.
fn mean_range_norm(x: &Tensor) -> Result<Tensor> {
    const EPS: f64 = 1e-6;
    let dtype = x.dtype();
    let x = x.to_dtype(DType::F32)?;
    let count = x.elem_count() as f64;
    // Summing per token first keeps float32 exact enough for 1024 tokens of width 3840.
    let mean = (x.sum_keepdim(2)?.sum_keepdim(1)? / (count + EPS))?;
    let flat = x.flatten_all()?;
    let range = ((flat.max(0)? - flat.min(0)?)? + EPS)?;
    (x.broadcast_sub(&mean)? * 8.0)?.broadcast_div(&range)?.to_dtype(dtype)
}
