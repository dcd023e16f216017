//! Feed-forward layer of transformer blocks (`FeedForward`): linear, tanh-GELU, linear.

use candle_core::{Result, Tensor};
use ltx2_kernels::PendingBias;

use crate::VarBuilder;
use crate::linear::Linear;

/// Feed-forward layer with an inner width of four times the outer one.
#[derive(Debug, Clone)]
pub struct FeedForward {
    project_in: Linear,
    project_out: Linear,
}

impl FeedForward {
    /// Reads `net.0.proj` and `net.2` for the width `dim`.
    pub fn new(dim: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            project_in: Linear::new(dim, 4 * dim, vb.pp("net.0.proj"))?,
            project_out: Linear::new(4 * dim, dim, vb.pp("net.2"))?,
        })
    }

    /// `x (b, t, d)` to `(b, t, d)`, with the last bias still to be added.
    pub fn forward(&self, x: &Tensor) -> Result<PendingBias> {
        self.project_out.product(&self.project_in.product(x)?.gelu()?)
    }
}
