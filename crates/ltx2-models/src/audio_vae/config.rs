//! Architecture of the audio autoencoder, from the `audio_vae` section of a checkpoint's config.

use crate::config::{ConfigError, SIZES, Section};

/// Mel frames per latent frame. The first latent frame has a single mel frame.
pub const TIME_SCALE: usize = 4;
/// Mel bins of a latent frame.
pub const LATENT_MEL_BINS: usize = 16;
/// Samples of a Fourier window of the spectrogram.
pub(super) const N_FFT: usize = 1024;
/// Number of resolution levels. Each level but one doubles time and frequency.
const LEVELS: usize = TIME_SCALE.ilog2() as usize + 1;
/// Mel bins of a spectrogram.
const MEL_BINS: usize = LATENT_MEL_BINS * TIME_SCALE;

/// Dimensions of the audio autoencoder and of its spectrograms.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioVaeConfig {
    pub(super) ch: usize,
    pub(super) ch_mult: Vec<usize>,
    pub(super) num_res_blocks: usize,
    pub(super) in_channels: usize,
    pub(super) out_ch: usize,
    pub(super) mel_bins: usize,
    /// Channels of a latent frame.
    pub z_channels: usize,
    /// Sampling rate of the audio of the spectrogram, in Hz.
    pub sample_rate: usize,
    /// Samples per mel frame.
    pub hop_length: usize,
}

impl AudioVaeConfig {
    /// Reads the section.
    ///
    /// # Errors
    ///
    /// If a value is not supported; the error names the key.
    pub fn new(audio_vae: &Section) -> Result<Self, ConfigError> {
        let params = audio_vae.section("model").section("params");
        let dd = params.section("ddconfig");
        let stft = audio_vae.section("preprocessing").section("stft");
        stft.expect("causal", true)?;
        stft.expect("filter_length", N_FFT)?;
        dd.expect("norm_type", "pixel")?;
        dd.expect("causality_axis", "height")?;
        dd.expect("double_z", true)?;
        dd.expect("resamp_with_conv", true)?;
        refuse_attention(&dd)?;
        let mel_channels = audio_vae.section("preprocessing").section("mel").get("n_mel_channels", None::<usize>)?;
        let mel_bins = mel_channels.map_or_else(|| audio_vae.section("variables").get("mel_bins", MEL_BINS), Ok)?;
        let config = Self {
            ch: dd.size("ch", 128)?,
            ch_mult: dd.get("ch_mult", vec![1, 2, 4])?,
            num_res_blocks: dd.count("num_res_blocks", 2)?,
            in_channels: dd.size("in_channels", 2)?,
            out_ch: dd.size("out_ch", 2)?,
            mel_bins: dd.get("mel_bins", mel_bins)?,
            z_channels: dd.size("z_channels", 8)?,
            sample_rate: params.size("sampling_rate", 16000)?,
            hop_length: stft.size("hop_length", 160)?,
        };
        if config.mel_bins != MEL_BINS {
            return Err(dd.unsupported("mel_bins", config.mel_bins, MEL_BINS));
        }
        if config.ch_mult.len() != LEVELS || !config.ch_mult.iter().all(|width| SIZES.contains(width)) {
            let supported =
                format!("a list of {LEVELS} factors, as latents are {TIME_SCALE} times shorter than mel frames");
            return Err(dd.unsupported("ch_mult", format!("{:?}", config.ch_mult), supported));
        }
        Ok(config)
    }
}

/// Refuses attention in the middle block and at the resolutions of the levels. No published model has it.
fn refuse_attention(dd: &Section) -> Result<(), ConfigError> {
    // The official default is true.
    if dd.get("mid_block_add_attention", true)? {
        return Err(dd.unsupported("mid_block_add_attention", true, false));
    }
    let requested: Vec<usize> = dd.get("attn_resolutions", vec![8, 16, 32])?;
    let coarsest = dd.get("resolution", 256)? / TIME_SCALE;
    let levels: Vec<usize> = (0..LEVELS).map(|level| coarsest.saturating_mul(1 << level)).collect();
    match requested.iter().any(|resolution| levels.contains(resolution)) {
        true => Err(dd.unsupported("attn_resolutions", format!("{requested:?}"), format!("a list without {levels:?}"))),
        false => Ok(()),
    }
}
