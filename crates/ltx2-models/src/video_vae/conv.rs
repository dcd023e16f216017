//! 3x3x3 convolution of the video autoencoder, padded in time by repeated frames (`CausalConv3d`).

use candle_core::{Result, Tensor};
use ltx2_kernels::{Conv3d, FramePadding, Padding};

use crate::VarBuilder;

/// Padding around each frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpatialPadding {
    Zeros,
    Reflect,
}

/// Padding before the first and after the last frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimePadding {
    /// The first frame is repeated before, so that no output depends on later frames.
    Causal,
    /// The first frame is repeated before and the last frame after.
    Symmetric,
}

const KERNEL: usize = 3;

/// 3-D convolution that preserves `(t, h, w)`.
#[derive(Debug, Clone)]
pub(super) struct CausalConv3d {
    conv: Conv3d,
    padding: SpatialPadding,
}

impl CausalConv3d {
    /// Reads `conv.weight` and `conv.bias`.
    pub(super) fn new(c_in: usize, c_out: usize, padding: SpatialPadding, vb: VarBuilder) -> Result<Self> {
        let vb = vb.pp("conv");
        let weight = vb.get((c_out, c_in, KERNEL, KERNEL, KERNEL), "weight")?;
        Ok(Self { conv: Conv3d::new(&weight, &vb.get(c_out, "bias")?)?, padding })
    }

    /// `x (t, c_in, h, w)` to `(t, c_out, h, w)`.
    pub(super) fn forward(&self, x: &Tensor, time: TimePadding) -> Result<Tensor> {
        self.conv.forward(x, &self.padding(time))
    }

    /// `residual + forward(x)`, where `residual` is `(t, c_out, h, w)`.
    pub(super) fn forward_onto(&self, residual: &Tensor, x: &Tensor, time: TimePadding) -> Result<Tensor> {
        self.conv.forward_onto(residual, x, &self.padding(time))
    }

    fn padding(&self, time: TimePadding) -> Padding {
        let (before, after) = match time {
            TimePadding::Causal => (KERNEL - 1, 0),
            TimePadding::Symmetric => (KERNEL / 2, KERNEL / 2),
        };
        let spatial = match self.padding {
            SpatialPadding::Zeros => FramePadding::Zeros(KERNEL / 2),
            SpatialPadding::Reflect => FramePadding::Reflect,
        };
        Padding { before, after, spatial }
    }
}
