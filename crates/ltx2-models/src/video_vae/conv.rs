//! The autoencoder's convolution: 3x3x3, padded in time by repeating frames (`CausalConv3d`).

use candle_core::{Result, Tensor};
use ltx2_kernels::{Conv3d, reflect_pad_hw};

use crate::VarBuilder;

/// What stands around each frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpatialPadding {
    Zeros,
    Reflect,
}

/// What stands before and after the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimePadding {
    /// The first frame repeated before: no frame sees a later one.
    Causal,
    /// First and last frame repeated on their sides.
    Symmetric,
}

const KERNEL: usize = 3;

/// A convolution that keeps `(t, h, w)`.
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

    /// `x (t, c_in, h, w)`.
    pub(super) fn forward(&self, x: &Tensor, time: TimePadding) -> Result<Tensor> {
        let (t, _, _, _) = x.dims4()?;
        let (before, after) = match time {
            TimePadding::Causal => (KERNEL - 1, 0),
            TimePadding::Symmetric => (KERNEL / 2, KERNEL / 2),
        };
        let (x, zeros) = match self.padding {
            SpatialPadding::Zeros => (x.clone(), KERNEL / 2),
            SpatialPadding::Reflect => (reflect_pad_hw(x)?, 0),
        };
        let (first, last) = (x.narrow(0, 0, 1)?, x.narrow(0, t - 1, 1)?);
        let mut frames = vec![&first; before];
        frames.push(&x);
        frames.extend(vec![&last; after]);
        self.conv.forward(&Tensor::cat(&frames, 0)?, zeros)
    }
}
