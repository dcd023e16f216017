//! A spectrogram to samples: upsamplings, each followed by parallel residual blocks (`Vocoder`).

use candle_core::{Result, Tensor};

use super::activation::Activation;
use super::config::{Blocks, GeneratorConfig, Output};
use super::layers::{Conv1d, ConvTranspose1d};
use super::resblock::{LRELU_SLOPE, ResBlock};
use crate::VarBuilder;

/// Mel bins per side.
pub(super) const MEL_BINS: usize = 64;
/// Stereo: both sides' bins go in as channels, and one channel per side comes out.
const SIDES: usize = 2;
const OUTER_KERNEL: usize = 7;
/// torch's default.
const LAST_SLOPE: f64 = 0.01;

/// One generator.
#[derive(Debug)]
pub(super) struct Generator {
    conv_pre: Conv1d,
    stages: Vec<Stage>,
    act_post: Activation,
    conv_post: Conv1d,
    output: Output,
}

#[derive(Debug)]
struct Stage {
    /// Before the upsampling; the periodic kind has none there.
    act: Option<Activation>,
    up: ConvTranspose1d,
    resblocks: Vec<ResBlock>,
}

impl Generator {
    /// Reads the generator at `vb`.
    pub(super) fn new(config: &GeneratorConfig, vb: VarBuilder) -> Result<Self> {
        let stages = (0..config.upsample_rates.len()).map(|i| Stage::new(config, i, &vb)).collect::<Result<_>>()?;
        let last = config.channels_after(config.upsample_rates.len());
        let conv_post = if config.bias_at_final { Conv1d::new } else { Conv1d::without_bias };
        Ok(Self {
            conv_pre: Conv1d::new(
                SIDES * MEL_BINS,
                config.upsample_initial_channel,
                (OUTER_KERNEL, 1),
                vb.pp("conv_pre"),
            )?,
            stages,
            act_post: match config.blocks {
                Blocks::Plain => Activation::Leaky(LAST_SLOPE),
                Blocks::Periodic => Activation::snake(last, vb.pp("act_post"))?,
            },
            conv_post: conv_post(last, SIDES, (OUTER_KERNEL, 1), vb.pp("conv_post"))?,
            output: config.output,
        })
    }

    /// `mel (b, 2, t, 64)` to `(b, 2, samples)`.
    pub(super) fn forward(&self, mel: &Tensor) -> Result<Tensor> {
        let (b, sides, t, bins) = mel.dims4()?;
        let mut x = self.conv_pre.forward(&mel.transpose(2, 3)?.reshape((b, sides * bins, t))?)?;
        for stage in &self.stages {
            x = stage.forward(&x)?;
        }
        let x = self.conv_post.forward(&self.act_post.forward(&x)?)?;
        match self.output {
            Output::Tanh => x.tanh(),
            Output::Clamp => x.clamp(-1f32, 1f32),
            Output::Unbounded => Ok(x),
        }
    }
}

impl Stage {
    fn new(config: &GeneratorConfig, i: usize, vb: &VarBuilder) -> Result<Self> {
        let (channels, sizes) =
            (config.channels_after(i + 1), (config.upsample_kernel_sizes[i], config.upsample_rates[i]));
        let first = i * config.resblock_kernel_sizes.len();
        let resblocks = config.resblock_kernel_sizes.iter().zip(&config.resblock_dilation_sizes).enumerate();
        let resblock = |(j, (kernel, dilations)): (usize, (&usize, &Vec<usize>))| {
            ResBlock::new(channels, *kernel, dilations, config.blocks, vb.pp("resblocks").pp(first + j))
        };
        Ok(Self {
            act: match config.blocks {
                Blocks::Plain => Some(Activation::Leaky(LRELU_SLOPE)),
                Blocks::Periodic => None,
            },
            up: ConvTranspose1d::new(config.channels_after(i), channels, sizes, vb.pp("ups").pp(i))?,
            resblocks: resblocks.map(resblock).collect::<Result<_>>()?,
        })
    }

    /// The mean of what the residual blocks make of the upsampled signal.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = match &self.act {
            Some(act) => self.up.forward(&act.forward(x)?)?,
            None => self.up.forward(x)?,
        };
        let mut sum = self.resblocks[0].forward(&x)?;
        for block in &self.resblocks[1..] {
            sum = (sum + block.forward(&x)?)?;
        }
        sum / self.resblocks.len() as f64
    }
}
