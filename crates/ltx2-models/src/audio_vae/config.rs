//! The audio autoencoder's architecture, from the `audio_vae` section of a checkpoint's config.

use super::{LATENT_MEL_BINS, TIME_SCALE};
use crate::config::{ConfigError, SIZES, Section};

/// Each level above the first doubles time and frequency.
const LEVELS: usize = TIME_SCALE.ilog2() as usize + 1;
/// Bins of a spectrogram.
const MEL_BINS: usize = LATENT_MEL_BINS * TIME_SCALE;

/// Widths and depths, and the spectrogram that it works on.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioVaeConfig {
    pub(super) ch: usize,
    pub(super) ch_mult: Vec<usize>,
    pub(super) num_res_blocks: usize,
    pub(super) out_ch: usize,
    pub(super) mel_bins: usize,
    /// Channels of a latent frame.
    pub z_channels: usize,
    /// Samples per second of the sound behind the spectrogram.
    pub sample_rate: usize,
    /// Samples between mel frames.
    pub hop_length: usize,
}

impl AudioVaeConfig {
    /// Reads the section; refuses, by name, what is not implemented.
    pub fn new(audio_vae: &Section) -> Result<Self, ConfigError> {
        let params = audio_vae.section("model").section("params");
        let dd = params.section("ddconfig");
        let stft = audio_vae.section("preprocessing").section("stft");
        stft.expect("causal", true)?;
        dd.expect("norm_type", "pixel")?;
        dd.expect("causality_axis", "height")?;
        refuse_attention(&dd)?;
        let preprocessing = audio_vae.section("preprocessing").section("mel").get("n_mel_channels", None::<usize>)?;
        let mel_bins = preprocessing.map_or_else(|| audio_vae.section("variables").get("mel_bins", MEL_BINS), Ok)?;
        let config = Self {
            ch: dd.size("ch", 128)?,
            ch_mult: dd.get("ch_mult", vec![1, 2, 4])?,
            num_res_blocks: dd.count("num_res_blocks", 2)?,
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

/// Attention is in neither published model: refused in the middle, and at a resolution that some level has.
fn refuse_attention(dd: &Section) -> Result<(), ConfigError> {
    // Absent, this means attention in the official code.
    if dd.get("mid_block_add_attention", true)? {
        return Err(dd.unsupported("mid_block_add_attention", true, false));
    }
    let asked: Vec<usize> = dd.get("attn_resolutions", vec![8, 16, 32])?;
    let coarsest = dd.get("resolution", 256)? / TIME_SCALE;
    let levels: Vec<usize> = (0..LEVELS).map(|level| coarsest.saturating_mul(1 << level)).collect();
    match asked.iter().any(|resolution| levels.contains(resolution)) {
        true => Err(dd.unsupported("attn_resolutions", format!("{asked:?}"), format!("a list without {levels:?}"))),
        false => Ok(()),
    }
}
