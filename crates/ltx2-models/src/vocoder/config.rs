//! Architecture of the vocoder, from the `vocoder` section of a checkpoint's config.

use candle_core::DType;

use crate::config::{ConfigError, SIZES, Section};

/// Mel bins per audio channel.
pub(super) const MEL_BINS: usize = 64;

/// Rates and dimensions of the vocoder. Only the section of LTX-2.3 has `bwe`.
#[derive(Debug, Clone, PartialEq)]
pub struct VocoderConfig {
    /// Sampling rate of the output, in Hz.
    pub output_sampling_rate: usize,
    pub(super) generator: WaveformGeneratorConfig,
    pub(super) extension: Option<BandwidthExtensionConfig>,
}

/// Rates and dimensions of one waveform generator.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WaveformGeneratorConfig {
    pub(super) upsample_rates: Vec<usize>,
    pub(super) upsample_kernel_sizes: Vec<usize>,
    pub(super) upsample_initial_channel: usize,
    pub(super) resblock_kernel_sizes: Vec<usize>,
    pub(super) resblock_dilation_sizes: Vec<Vec<usize>>,
    pub(super) block_kind: ResBlockKind,
    pub(super) final_activation: FinalActivation,
    pub(super) bias_at_final: bool,
}

/// Kind of residual block. It determines all activations of the generator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ResBlockKind {
    /// `"1"`: leaky ReLU (HiFi-GAN).
    ResBlock1,
    /// `"AMP1"`: anti-aliased snake activations (BigVGAN).
    AmpBlock1,
}

/// Activation that limits the output samples to [-1, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum FinalActivation {
    Tanh,
    Clamp,
    /// None: the output is a residual.
    Identity,
}

/// Bandwidth extension: its generator and its spectrogram.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BandwidthExtensionConfig {
    pub(super) generator: WaveformGeneratorConfig,
    pub(super) n_fft: usize,
    pub(super) hop_length: usize,
    /// Ratio of the output sampling rate to the sampling rate of the first generator.
    pub(super) ratio: usize,
}

impl VocoderConfig {
    /// Returns the dtype of the vocoder in a run of `run`: float32 with bandwidth extension, because errors add up over
    /// its many convolutions.
    pub fn dtype(&self, run: DType) -> DType {
        if self.extension.is_some() { DType::F32 } else { run }
    }

    /// Reads the `vocoder` section.
    ///
    /// # Errors
    ///
    /// If a value is not supported; the error names the key.
    pub fn new(vocoder: &Section) -> Result<Self, ConfigError> {
        if !vocoder.has("bwe") {
            return Ok(Self {
                output_sampling_rate: vocoder.size("output_sampling_rate", 24000)?,
                generator: WaveformGeneratorConfig::new(vocoder, ResBlockKind::ResBlock1, final_activation(vocoder)?)?,
                extension: None,
            });
        }
        let (first, bwe) = (vocoder.section("vocoder"), vocoder.section("bwe"));
        first.expect("apply_final_activation", true)?;
        Ok(Self {
            output_sampling_rate: bwe.require_size("output_sampling_rate")?,
            generator: WaveformGeneratorConfig::new(&first, ResBlockKind::AmpBlock1, final_activation(&first)?)?,
            extension: Some(BandwidthExtensionConfig::new(&bwe)?),
        })
    }
}

fn final_activation(section: &Section) -> Result<FinalActivation, ConfigError> {
    Ok(if section.get("use_tanh_at_final", true)? { FinalActivation::Tanh } else { FinalActivation::Clamp })
}

impl WaveformGeneratorConfig {
    fn new(
        section: &Section,
        block_kind: ResBlockKind,
        final_activation: FinalActivation,
    ) -> Result<Self, ConfigError> {
        section.expect("stereo", true)?;
        // The official defaults are "1" and "snake", so AMP1 requires both keys.
        let (resblock, activation) = match block_kind {
            ResBlockKind::ResBlock1 => ("1", None),
            ResBlockKind::AmpBlock1 => ("AMP1", Some("snakebeta")),
        };
        expect_or_default(section, "resblock", "1", resblock)?;
        activation.map_or(Ok(()), |activation| expect_or_default(section, "activation", "snake", activation))?;
        let config = Self {
            upsample_rates: sizes(section, "upsample_rates", &[6, 5, 2, 2, 2])?,
            upsample_kernel_sizes: sizes(section, "upsample_kernel_sizes", &[16, 15, 8, 4, 4])?,
            upsample_initial_channel: section.size("upsample_initial_channel", 1024)?,
            resblock_kernel_sizes: sizes(section, "resblock_kernel_sizes", &[3, 7, 11])?,
            resblock_dilation_sizes: section.get("resblock_dilation_sizes", vec![vec![1, 3, 5]; 3])?,
            block_kind,
            final_activation,
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
            return refuse(
                "upsample_kernel_sizes",
                format!("{kernels:?}"),
                "a list with one kernel size per upsample rate, each at least the rate",
            );
        }
        if dilations.len() != self.resblock_kernel_sizes.len() {
            return refuse("resblock_dilation_sizes", format!("{dilations:?}"), "one list per residual kernel size");
        }
        if dilations.iter().any(|list| list.len() != 3 || !list.iter().all(|dilation| SIZES.contains(dilation))) {
            return refuse("resblock_dilation_sizes", format!("{dilations:?}"), "lists of three dilations");
        }
        if self.resblock_kernel_sizes.iter().any(|kernel| kernel.is_multiple_of(2)) {
            return refuse("resblock_kernel_sizes", format!("{:?}", self.resblock_kernel_sizes), "odd sizes");
        }
        if self.channels_after(rates.len()) == 0 {
            let supported = "a number of channels that can be halved once per upsample rate";
            return refuse("upsample_initial_channel", self.upsample_initial_channel.to_string(), supported);
        }
        Ok(())
    }

    /// Number of channels after `upsamplings` upsamplings. Each halves it.
    pub(super) fn channels_after(&self, upsamplings: usize) -> usize {
        self.upsample_initial_channel.checked_shr(upsamplings as u32).unwrap_or(0)
    }
}

impl BandwidthExtensionConfig {
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
        let generator = WaveformGeneratorConfig::new(bwe, ResBlockKind::AmpBlock1, FinalActivation::Identity)?;
        let (rates, kernels) = (&generator.upsample_rates, &generator.upsample_kernel_sizes);
        // With an odd difference, the residual would be longer than the resampled audio.
        if kernels.iter().zip(rates).any(|(kernel, rate)| !(kernel - rate).is_multiple_of(2)) {
            let supported = format!("sizes that differ from {rates:?} by even numbers");
            return Err(bwe.unsupported("upsample_kernel_sizes", format!("{kernels:?}"), supported));
        }
        let ratio = output / input;
        let product = rates.iter().fold(1, |product: usize, rate| product.saturating_mul(*rate));
        let required = hop_length.saturating_mul(ratio);
        if product != required {
            let supported = format!("a list whose product is hop_length times {ratio}, {required}");
            return Err(bwe.unsupported("upsample_rates", format!("{rates:?}"), supported));
        }
        Ok(Self { generator, n_fft, hop_length, ratio })
    }
}

/// Refuses any value of `key` but `supported`. A missing key has the value `default`.
fn expect_or_default(section: &Section, key: &str, default: &str, supported: &str) -> Result<(), ConfigError> {
    let found: String = section.get(key, default.to_string())?;
    if found == supported { Ok(()) } else { Err(section.unsupported(key, found, supported)) }
}

/// A non-empty list of sizes.
fn sizes(section: &Section, key: &str, default: &[usize]) -> Result<Vec<usize>, ConfigError> {
    let sizes: Vec<usize> = section.get(key, default.to_vec())?;
    if sizes.is_empty() || !sizes.iter().all(|size| SIZES.contains(size)) {
        let supported = format!("a list of numbers from {} to {}", SIZES.start(), SIZES.end());
        return Err(section.unsupported(key, format!("{sizes:?}"), supported));
    }
    Ok(sizes)
}
