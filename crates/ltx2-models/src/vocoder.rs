//! Log-mel spectrograms to stereo sound: a HiFi-GAN generator (`Vocoder`).

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use ltx2_kernels::{conv_transpose1d, conv1d};

use crate::config::{ConfigError, Section};

const LRELU_SLOPE: f64 = 0.1;
/// Stereo, 64 mel bins each.
const MEL_CHANNELS: usize = 128;

/// Rates and widths of the generator.
#[derive(Debug, Clone, PartialEq)]
pub struct VocoderConfig {
    /// Samples per second of the result.
    pub output_sampling_rate: usize,
    upsample_rates: Vec<usize>,
    upsample_kernel_sizes: Vec<usize>,
    upsample_initial_channel: usize,
    resblock_kernel_sizes: Vec<usize>,
    resblock_dilation_sizes: Vec<Vec<usize>>,
    tanh: bool,
}

impl VocoderConfig {
    /// Reads the `vocoder` section; refuses, by name, what LTX-2 19B does not have.
    pub fn new(vocoder: &Section) -> std::result::Result<Self, ConfigError> {
        vocoder.expect("bwe", serde_json::Value::Null)?;
        vocoder.expect("resblock", "1")?;
        vocoder.expect("stereo", true)?;
        vocoder.expect("use_bias_at_final", true)?;
        let config = Self {
            output_sampling_rate: vocoder.get("output_sampling_rate", 24000)?,
            upsample_rates: vocoder.get("upsample_rates", vec![6, 5, 2, 2, 2])?,
            upsample_kernel_sizes: vocoder.get("upsample_kernel_sizes", vec![16, 15, 8, 4, 4])?,
            upsample_initial_channel: vocoder.get("upsample_initial_channel", 1024)?,
            resblock_kernel_sizes: vocoder.get("resblock_kernel_sizes", vec![3, 7, 11])?,
            resblock_dilation_sizes: vocoder.get("resblock_dilation_sizes", vec![vec![1, 3, 5]; 3])?,
            tanh: vocoder.get("use_tanh_at_final", true)?,
        };
        for (key, found, wanted) in [
            ("upsample_kernel_sizes", config.upsample_kernel_sizes.len(), config.upsample_rates.len()),
            ("resblock_dilation_sizes", config.resblock_dilation_sizes.len(), config.resblock_kernel_sizes.len()),
        ] {
            if found != wanted {
                return Err(vocoder.unsupported(key, format!("a list of {found}"), format!("one of {wanted}")));
            }
        }
        Ok(config)
    }
}

/// The generator.
#[derive(Debug)]
pub struct Vocoder {
    conv_pre: Conv1d,
    stages: Vec<Stage>,
    conv_post: Conv1d,
    tanh: bool,
}

#[derive(Debug)]
struct Stage {
    up: ConvTranspose1d,
    resblocks: Vec<ResBlock>,
}

impl Vocoder {
    /// Reads `vocoder.*`.
    pub fn new(config: &VocoderConfig, vb: VarBuilder) -> Result<Self> {
        let vb = vb.pp("vocoder");
        let initial = config.upsample_initial_channel;
        let per_stage = config.resblock_kernel_sizes.len();
        let stages = config
            .upsample_rates
            .iter()
            .zip(&config.upsample_kernel_sizes)
            .enumerate()
            .map(|(i, (stride, kernel))| {
                let channels = initial >> (i + 1);
                let resblocks = config.resblock_kernel_sizes.iter().zip(&config.resblock_dilation_sizes).enumerate();
                Ok(Stage {
                    up: ConvTranspose1d::new(initial >> i, channels, (*kernel, *stride), vb.pp("ups").pp(i))?,
                    resblocks: resblocks
                        .map(|(j, (kernel, dilations))| {
                            ResBlock::new(channels, *kernel, dilations, vb.pp("resblocks").pp(i * per_stage + j))
                        })
                        .collect::<Result<_>>()?,
                })
            })
            .collect::<Result<_>>()?;
        let last = initial >> config.upsample_rates.len();
        Ok(Self {
            conv_pre: Conv1d::new(MEL_CHANNELS, initial, (7, 1), vb.pp("conv_pre"))?,
            stages,
            conv_post: Conv1d::new(last, 2, (7, 1), vb.pp("conv_post"))?,
            tanh: config.tanh,
        })
    }

    /// `mel (1, 2, t, 64)` to `(1, 2, samples)` in [-1, 1].
    pub fn forward(&self, mel: &Tensor) -> Result<Tensor> {
        let (b, sides, t, bins) = mel.dims4()?;
        let mut x = self.conv_pre.forward(&mel.transpose(2, 3)?.reshape((b, sides * bins, t))?)?;
        for stage in &self.stages {
            x = stage.up.forward(&leaky_relu(&x, LRELU_SLOPE)?)?;
            let mut sum = stage.resblocks[0].forward(&x)?;
            for block in &stage.resblocks[1..] {
                sum = (sum + block.forward(&x)?)?;
            }
            x = (sum / stage.resblocks.len() as f64)?;
        }
        let x = self.conv_post.forward(&leaky_relu(&x, 0.01)?)?;
        if self.tanh { x.tanh() } else { x.clamp(-1f32, 1f32) }
    }
}

/// Dilated convolutions, each followed by a plain one, around a residual.
#[derive(Debug)]
struct ResBlock {
    convs: Vec<(Conv1d, Conv1d)>,
}

impl ResBlock {
    fn new(channels: usize, kernel: usize, dilations: &[usize], vb: VarBuilder) -> Result<Self> {
        let convs = dilations
            .iter()
            .enumerate()
            .map(|(i, dilation)| {
                Ok((
                    Conv1d::new(channels, channels, (kernel, *dilation), vb.pp("convs1").pp(i))?,
                    Conv1d::new(channels, channels, (kernel, 1), vb.pp("convs2").pp(i))?,
                ))
            })
            .collect::<Result<_>>()?;
        Ok(Self { convs })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for (dilated, plain) in &self.convs {
            let inner = dilated.forward(&leaky_relu(&x, LRELU_SLOPE)?)?;
            x = (plain.forward(&leaky_relu(&inner, LRELU_SLOPE)?)? + x)?;
        }
        Ok(x)
    }
}

fn leaky_relu(x: &Tensor, slope: f64) -> Result<Tensor> {
    x.maximum(&(x * slope)?)
}

/// A 1-D convolution that keeps the length.
#[derive(Debug)]
struct Conv1d {
    weight: Tensor,
    bias: Tensor,
    dilation: usize,
}

impl Conv1d {
    fn new(c_in: usize, c_out: usize, (kernel, dilation): (usize, usize), vb: VarBuilder) -> Result<Self> {
        let weight = vb.get((c_out, c_in, kernel), "weight")?;
        Ok(Self { weight, bias: vb.get(c_out, "bias")?.reshape((1, c_out, 1))?, dilation })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let padding = self.dilation * (self.weight.dim(2)? - 1) / 2;
        conv1d(x, &self.weight, padding, self.dilation)?.broadcast_add(&self.bias)
    }
}

/// A 1-D convolution that multiplies the length by its stride.
#[derive(Debug)]
struct ConvTranspose1d {
    weight: Tensor,
    bias: Tensor,
    stride: usize,
}

impl ConvTranspose1d {
    fn new(c_in: usize, c_out: usize, (kernel, stride): (usize, usize), vb: VarBuilder) -> Result<Self> {
        let weight = vb.get((c_in, c_out, kernel), "weight")?;
        Ok(Self { weight, bias: vb.get(c_out, "bias")?.reshape((1, c_out, 1))?, stride })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        // candle's fast form has no padding: cutting the ends off afterwards is the same.
        let whole = conv_transpose1d(x, &self.weight, self.stride)?;
        let cut = (self.weight.dim(2)? - self.stride) / 2;
        whole.narrow(2, cut, whole.dim(2)? - 2 * cut)?.broadcast_add(&self.bias)
    }
}
