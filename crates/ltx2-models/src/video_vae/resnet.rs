//! Residual blocks (`UNetMidBlock3D`, `ResnetBlock3D` with equal input and output channels).

use candle_core::{Result, Tensor};
use ltx2_kernels::pixel_norm_silu;

use super::conv::{CausalConv3d, SpatialPadding, TimePadding};
use crate::VarBuilder;

/// Epsilon of every pixel norm in the video autoencoder.
pub(super) const NORM_EPS: f64 = 1e-8;

/// Sequence of residual blocks with the same number of channels.
#[derive(Debug)]
pub(super) struct ResBlocks {
    blocks: Vec<(CausalConv3d, CausalConv3d)>,
}

impl ResBlocks {
    /// Reads `res_blocks.*.conv1` and `res_blocks.*.conv2`.
    pub(super) fn new(layers: usize, channels: usize, padding: SpatialPadding, vb: VarBuilder) -> Result<Self> {
        let conv = |vb| CausalConv3d::new(channels, channels, padding, vb);
        let blocks = (0..layers)
            .map(|i| {
                let vb = vb.pp("res_blocks").pp(i);
                Ok((conv(vb.pp("conv1"))?, conv(vb.pp("conv2"))?))
            })
            .collect::<Result<_>>()?;
        Ok(Self { blocks })
    }

    /// `x (t, c, h, w)` to the same shape. Takes `x` by value so that at most three tensors of its size are live.
    pub(super) fn forward(&self, mut x: Tensor, time: TimePadding) -> Result<Tensor> {
        for (conv1, conv2) in &self.blocks {
            let inner = conv1.forward(&pixel_norm_silu(&x, NORM_EPS)?, time)?;
            let normed = pixel_norm_silu(&inner, NORM_EPS)?;
            drop(inner);
            x = conv2.forward_onto(&x, &normed, time)?;
        }
        Ok(x)
    }
}
