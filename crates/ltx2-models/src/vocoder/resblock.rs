//! The residual blocks of both generators (`ResBlock1`, `AMPBlock1`): they differ in their activations alone.

use candle_core::{Result, Tensor};

use super::activation::Activation;
use super::config::Blocks;
use super::layers::Conv1d;
use crate::VarBuilder;

/// Slope of the plain kind's activations.
pub(super) const LRELU_SLOPE: f64 = 0.1;

/// Dilated convolutions, each followed by a plain one, around a residual.
#[derive(Debug)]
pub(super) struct ResBlock {
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    act1: Activation,
    conv1: Conv1d,
    act2: Activation,
    conv2: Conv1d,
}

impl ResBlock {
    pub(super) fn new(
        channels: usize,
        kernel: usize,
        dilations: &[usize],
        blocks: Blocks,
        vb: VarBuilder,
    ) -> Result<Self> {
        let activation = |name: &str, i: usize| match blocks {
            Blocks::Plain => Ok(Activation::Leaky(LRELU_SLOPE)),
            Blocks::Periodic => Activation::snake(channels, vb.pp(name).pp(i)),
        };
        let conv = |name: &str, i: usize, dilation: usize| {
            Conv1d::new(channels, channels, (kernel, dilation), vb.pp(name).pp(i))
        };
        let step = |(i, dilation): (usize, &usize)| {
            Ok(Step {
                act1: activation("acts1", i)?,
                conv1: conv("convs1", i, *dilation)?,
                act2: activation("acts2", i)?,
                conv2: conv("convs2", i, 1)?,
            })
        };
        Ok(Self { steps: dilations.iter().enumerate().map(step).collect::<Result<_>>()? })
    }

    /// `(b, c, l)` to the same shape.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for step in &self.steps {
            let inner = step.conv1.forward(&step.act1.forward(&x)?)?;
            x = (step.conv2.forward(&step.act2.forward(&inner)?)? + x)?;
        }
        Ok(x)
    }
}
