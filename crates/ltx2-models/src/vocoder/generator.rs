//! Waveform generator (`Vocoder`): transposed convolutions, each followed by parallel residual blocks.

use candle_core::{Result, Tensor};

use super::activation::Activation;
use super::config::{FinalActivation, MEL_BINS, ResBlockKind, WaveformGeneratorConfig};
use super::layers::{Conv1d, ConvTranspose1d};
use super::resblock::{LRELU_SLOPE, ResBlock};
use crate::VarBuilder;

/// Stereo. The mel bins of both channels are the input channels.
const AUDIO_CHANNELS: usize = 2;
/// Kernel size of the first and of the last convolution.
const OUTER_KERNEL: usize = 7;
/// Negative slope of the last leaky ReLU, the default of torch.
const LAST_SLOPE: f64 = 0.01;

/// Generator of a waveform from a spectrogram.
#[derive(Debug)]
pub(super) struct WaveformGenerator {
    conv_pre: Conv1d,
    stages: Vec<UpsampleStage>,
    act_post: Activation,
    conv_post: Conv1d,
    final_activation: FinalActivation,
}

/// An upsampling and the residual blocks after it.
#[derive(Debug)]
struct UpsampleStage {
    /// Activation before the upsampling. AMP generators have none.
    act: Option<Activation>,
    up: ConvTranspose1d,
    resblocks: Vec<ResBlock>,
}

impl WaveformGenerator {
    /// Reads `conv_pre`, `ups.*`, `resblocks.*`, `act_post` and `conv_post`.
    pub(super) fn new(config: &WaveformGeneratorConfig, vb: VarBuilder) -> Result<Self> {
        let stages =
            (0..config.upsample_rates.len()).map(|i| UpsampleStage::new(config, i, &vb)).collect::<Result<_>>()?;
        let last = config.channels_after(config.upsample_rates.len());
        let conv_post = if config.bias_at_final { Conv1d::new } else { Conv1d::without_bias };
        Ok(Self {
            conv_pre: Conv1d::new(
                AUDIO_CHANNELS * MEL_BINS,
                config.upsample_initial_channel,
                (OUTER_KERNEL, 1),
                vb.pp("conv_pre"),
            )?,
            stages,
            act_post: match config.block_kind {
                ResBlockKind::ResBlock1 => Activation::LeakyRelu(LAST_SLOPE),
                ResBlockKind::AmpBlock1 => Activation::snake(last, vb.pp("act_post"))?,
            },
            conv_post: conv_post(last, AUDIO_CHANNELS, (OUTER_KERNEL, 1), vb.pp("conv_post"))?,
            final_activation: config.final_activation,
        })
    }

    /// Log-mel spectrogram `(b, 2, t, 64)` to samples `(b, 2, l)`.
    pub(super) fn forward(&self, mel: &Tensor) -> Result<Tensor> {
        let (b, channels, t, bins) = mel.dims4()?;
        let mut x = self.conv_pre.forward(&mel.transpose(2, 3)?.reshape((b, channels * bins, t))?)?;
        for stage in &self.stages {
            x = stage.forward(&x)?;
        }
        let x = self.conv_post.forward(&self.act_post.forward(&x)?)?;
        match self.final_activation {
            FinalActivation::Tanh => x.tanh(),
            FinalActivation::Clamp => x.clamp(-1f32, 1f32),
            FinalActivation::Identity => Ok(x),
        }
    }
}

impl UpsampleStage {
    fn new(config: &WaveformGeneratorConfig, i: usize, vb: &VarBuilder) -> Result<Self> {
        let (channels, sizes) =
            (config.channels_after(i + 1), (config.upsample_kernel_sizes[i], config.upsample_rates[i]));
        let first = i * config.resblock_kernel_sizes.len();
        let resblocks = config.resblock_kernel_sizes.iter().zip(&config.resblock_dilation_sizes).enumerate();
        let resblock = |(j, (kernel, dilations)): (usize, (&usize, &Vec<usize>))| {
            ResBlock::new(channels, *kernel, dilations, config.block_kind, vb.pp("resblocks").pp(first + j))
        };
        Ok(Self {
            act: match config.block_kind {
                ResBlockKind::ResBlock1 => Some(Activation::LeakyRelu(LRELU_SLOPE)),
                ResBlockKind::AmpBlock1 => None,
            },
            up: ConvTranspose1d::new(config.channels_after(i), channels, sizes, vb.pp("ups").pp(i))?,
            resblocks: resblocks.map(resblock).collect::<Result<_>>()?,
        })
    }

    /// Mean of the outputs of the residual blocks; `(b, c, l)` to `(b, c / 2, l · rate)`.
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
