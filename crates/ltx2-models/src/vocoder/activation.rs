//! Activations of the vocoder.

use candle_core::{Result, Tensor};
use ltx2_kernels::AntiAliasedSnake;
use ltx2_kernels::snake::SNAKE_TAPS;

use crate::VarBuilder;

/// Activation on `(b, c, l)`.
#[derive(Debug)]
pub(super) enum Activation {
    /// Leaky ReLU with the given negative slope.
    LeakyRelu(f64),
    /// Anti-aliased snake activation (`Activation1d` around `SnakeBeta`).
    Snake(AntiAliasedSnake),
}

impl Activation {
    /// Reads `act.alpha`, `act.beta`, `upsample.filter` and `downsample.lowpass.filter`.
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
            Self::LeakyRelu(slope) => x.maximum(&(x * *slope)?),
            Self::Snake(snake) => snake.forward(x),
        }
    }
}
