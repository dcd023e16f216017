//! Both vocoders' architecture, from the `vocoder` section of a checkpoint's config.

use super::generator::MEL_BINS;
use crate::config::{ConfigError, SIZES, Section};

/// Rates and widths. A section with `bwe` is LTX-2.3's, one without is LTX-2's.
#[derive(Debug, Clone, PartialEq)]
pub struct VocoderConfig {
    /// Samples per second of the result.
    pub output_sampling_rate: usize,
    pub(super) generator: GeneratorConfig,
    pub(super) extension: Option<ExtensionConfig>,
}

/// One generator.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GeneratorConfig {
    pub(super) upsample_rates: Vec<usize>,
    pub(super) upsample_kernel_sizes: Vec<usize>,
    pub(super) upsample_initial_channel: usize,
    pub(super) resblock_kernel_sizes: Vec<usize>,
    pub(super) resblock_dilation_sizes: Vec<Vec<usize>>,
    pub(super) blocks: Blocks,
    pub(super) output: Output,
    pub(super) bias_at_final: bool,
}

/// The kind of residual block, with the activations that go with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Blocks {
    /// `"1"`: leaky rectifiers.
    Plain,
    /// `"AMP1"`: periodic activations between resamplings.
    Periodic,
}

/// What keeps the samples in [-1, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Output {
    Tanh,
    Clamp,
    /// Nothing: they are a correction to other samples.
    Unbounded,
}

/// The second generator and what it listens to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ExtensionConfig {
    pub(super) generator: GeneratorConfig,
    pub(super) n_fft: usize,
    pub(super) hop_length: usize,
    /// Samples of the result per sample of the first generator.
    pub(super) ratio: usize,
}

impl VocoderConfig {
    /// Reads the `vocoder` section; refuses, by name, what is not implemented.
    pub fn new(vocoder: &Section) -> Result<Self, ConfigError> {
        if !vocoder.has("bwe") {
            return Ok(Self {
                output_sampling_rate: vocoder.size("output_sampling_rate", 24000)?,
                generator: GeneratorConfig::new(vocoder, Blocks::Plain, final_activation(vocoder)?)?,
                extension: None,
            });
        }
        let (first, bwe) = (vocoder.section("vocoder"), vocoder.section("bwe"));
        first.expect("apply_final_activation", true)?;
        Ok(Self {
            output_sampling_rate: bwe.require_size("output_sampling_rate")?,
            generator: GeneratorConfig::new(&first, Blocks::Periodic, final_activation(&first)?)?,
            extension: Some(ExtensionConfig::new(&bwe)?),
        })
    }
}

fn final_activation(section: &Section) -> Result<Output, ConfigError> {
    Ok(if section.get("use_tanh_at_final", true)? { Output::Tanh } else { Output::Clamp })
}

impl GeneratorConfig {
    fn new(section: &Section, blocks: Blocks, output: Output) -> Result<Self, ConfigError> {
        section.expect("stereo", true)?;
        // Absent keys mean "1" and "snake" in the official code, so the periodic kind has to be spelt out.
        let (resblock, activation) = match blocks {
            Blocks::Plain => ("1", None),
            Blocks::Periodic => ("AMP1", Some("snakebeta")),
        };
        same(section, "resblock", "1", resblock)?;
        activation.map_or(Ok(()), |activation| same(section, "activation", "snake", activation))?;
        let config = Self {
            upsample_rates: sizes(section, "upsample_rates", &[6, 5, 2, 2, 2])?,
            upsample_kernel_sizes: sizes(section, "upsample_kernel_sizes", &[16, 15, 8, 4, 4])?,
            upsample_initial_channel: section.size("upsample_initial_channel", 1024)?,
            resblock_kernel_sizes: sizes(section, "resblock_kernel_sizes", &[3, 7, 11])?,
            resblock_dilation_sizes: section.get("resblock_dilation_sizes", vec![vec![1, 3, 5]; 3])?,
            blocks,
            output,
            bias_at_final: section.get("use_bias_at_final", true)?,
        };
        config.check(section)?;
        Ok(config)
    }

    fn check(&self, section: &Section) -> Result<(), ConfigError> {
        let refuse = |key: &str, found: String, supported: &str| Err(section.unsupported(key, found, supported));
        let (rates, kernels, dilations) =
            (&self.upsample_rates, &self.upsample_kernel_sizes, &self.resblock_dilation_sizes);
        if kernels.len() != rates.len() || kernels.iter().zip(rates).any(|(kernel, rate)| kernel < rate) {
            return refuse("upsample_kernel_sizes", format!("{kernels:?}"), "one per upsample rate, none below it");
        }
        if dilations.len() != self.resblock_kernel_sizes.len() {
            return refuse("resblock_dilation_sizes", format!("{dilations:?}"), "one list per residual kernel");
        }
        if dilations.iter().any(|list| list.len() != 3 || !list.iter().all(|dilation| SIZES.contains(dilation))) {
            return refuse("resblock_dilation_sizes", format!("{dilations:?}"), "lists of three dilations");
        }
        if self.resblock_kernel_sizes.iter().any(|kernel| kernel.is_multiple_of(2)) {
            return refuse("resblock_kernel_sizes", format!("{:?}", self.resblock_kernel_sizes), "odd sizes");
        }
        if self.channels_after(rates.len()) == 0 {
            let supported = "a width that can be halved once per upsample rate";
            return refuse("upsample_initial_channel", self.upsample_initial_channel.to_string(), supported);
        }
        Ok(())
    }

    /// Channels after so many upsamplings: each halves them.
    pub(super) fn channels_after(&self, upsamplings: usize) -> usize {
        self.upsample_initial_channel.checked_shr(upsamplings as u32).unwrap_or(0)
    }
}

impl ExtensionConfig {
    fn new(bwe: &Section) -> Result<Self, ConfigError> {
        let (n_fft, hop_length) = (bwe.require_size("n_fft")?, bwe.require_size("hop_length")?);
        bwe.expect("win_size", n_fft)?;
        bwe.expect("num_mels", MEL_BINS)?;
        bwe.require::<usize>("num_mels")?;
        bwe.expect("apply_final_activation", false)?;
        let (input, output) = (bwe.require_size("input_sampling_rate")?, bwe.require_size("output_sampling_rate")?);
        if !output.is_multiple_of(input) {
            return Err(bwe.unsupported("output_sampling_rate", output, format!("a multiple of {input}")));
        }
        let generator = GeneratorConfig::new(bwe, Blocks::Periodic, Output::Unbounded)?;
        let (rates, kernels) = (&generator.upsample_rates, &generator.upsample_kernel_sizes);
        // Only so is the correction as long as what it corrects.
        if kernels.iter().zip(rates).any(|(kernel, rate)| !(kernel - rate).is_multiple_of(2)) {
            let supported = format!("sizes that differ from {rates:?} by even numbers");
            return Err(bwe.unsupported("upsample_kernel_sizes", format!("{kernels:?}"), supported));
        }
        let (ratio, made) =
            (output / input, rates.iter().fold(1, |product: usize, rate| product.saturating_mul(*rate)));
        let asked = hop_length.saturating_mul(ratio);
        if made != asked {
            let supported = format!("a list whose product is hop_length times {ratio}, {asked}");
            return Err(bwe.unsupported("upsample_rates", format!("{rates:?}"), supported));
        }
        Ok(Self { generator, n_fft, hop_length, ratio })
    }
}

fn same(section: &Section, key: &str, default: &str, supported: &str) -> Result<(), ConfigError> {
    let found: String = section.get(key, default.to_string())?;
    if found == supported { Ok(()) } else { Err(section.unsupported(key, found, supported)) }
}

fn sizes(section: &Section, key: &str, default: &[usize]) -> Result<Vec<usize>, ConfigError> {
    let sizes: Vec<usize> = section.get(key, default.to_vec())?;
    if sizes.is_empty() || !sizes.iter().all(|size| SIZES.contains(size)) {
        let supported = format!("a list of numbers from {} to {}", SIZES.start(), SIZES.end());
        return Err(section.unsupported(key, format!("{sizes:?}"), supported));
    }
    Ok(sizes)
}
