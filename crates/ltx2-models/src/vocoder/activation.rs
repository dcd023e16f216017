//! What stands between a vocoder's convolutions.

use candle_core::{Result, Tensor};
use ltx2_kernels::AntiAliasedSnake;
use ltx2_kernels::snake::SNAKE_TAPS;

use crate::VarBuilder;

/// An activation over `(b, c, l)`.
#[derive(Debug)]
pub(super) enum Activation {
    /// The identity for positive numbers, this slope for negative ones.
    Leaky(f64),
    /// `Activation1d` around `SnakeBeta`.
    Snake(AntiAliasedSnake),
}

impl Activation {
    /// Reads `act.*` and both filters, which are in the files beside the weights.
    pub(super) fn snake(channels: usize, vb: VarBuilder) -> Result<Self> {
        let filter = |path: &str| vb.pp(path).get((1, 1, SNAKE_TAPS), "filter");
        let act = vb.pp("act");
        Ok(Self::Snake(AntiAliasedSnake::new(
            filter("upsample")?,
            filter("downsample.lowpass")?,
            &act.get(channels, "alpha")?,
            &act.get(channels, "beta")?,
        )?))
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Leaky(slope) => x.maximum(&(x * *slope)?),
            Self::Snake(snake) => snake.forward(x),
        }
    }
}
