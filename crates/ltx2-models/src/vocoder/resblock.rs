//! Residual blocks of the waveform generators (`ResBlock1`, `AMPBlock1`). They differ only in their activations.

use candle_core::{Result, Tensor};

use super::activation::Activation;
use super::config::ResBlockKind;
use super::layers::Conv1d;
use crate::VarBuilder;

/// Negative slope of the leaky ReLU inside the generator.
pub(super) const LRELU_SLOPE: f64 = 0.1;

/// Residual block: a chain of residual units with increasing dilation.
#[derive(Debug)]
pub(super) struct ResBlock {
    units: Vec<ResidualUnit>,
}

/// A dilated convolution and an undilated one, with a skip connection.
#[derive(Debug)]
struct ResidualUnit {
    act1: Activation,
    conv1: Conv1d,
    act2: Activation,
    conv2: Conv1d,
}

impl ResBlock {
    /// Reads `convs1.*`, `convs2.*` and, for AMP blocks, `acts1.*` and `acts2.*`.
    pub(super) fn new(
        channels: usize,
        kernel: usize,
        dilations: &[usize],
        kind: ResBlockKind,
        vb: VarBuilder,
    ) -> Result<Self> {
        let activation = |name: &str, i: usize| match kind {
            ResBlockKind::ResBlock1 => Ok(Activation::LeakyRelu(LRELU_SLOPE)),
            ResBlockKind::AmpBlock1 => Activation::snake(channels, vb.pp(name).pp(i)),
        };
        let conv = |name: &str, i: usize, dilation: usize| {
            Conv1d::new(channels, channels, (kernel, dilation), vb.pp(name).pp(i))
        };
        let unit = |(i, dilation): (usize, &usize)| {
            Ok(ResidualUnit {
                act1: activation("acts1", i)?,
                conv1: conv("convs1", i, *dilation)?,
                act2: activation("acts2", i)?,
                conv2: conv("convs2", i, 1)?,
            })
        };
        Ok(Self { units: dilations.iter().enumerate().map(unit).collect::<Result<_>>()? })
    }

    /// `x (b, c, l)` to the same shape.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for unit in &self.units {
            let inner = unit.conv1.forward(&unit.act1.forward(&x)?)?;
            x = (unit.conv2.forward(&unit.act2.forward(&inner)?)? + x)?;
        }
        Ok(x)
    }
}
