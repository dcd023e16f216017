//! The audio autoencoder's architecture, from the `audio_vae` section of a checkpoint's config.

use super::LATENT_MEL_BINS;
use crate::config::{ConfigError, Section};

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
        // Absent, these mean attention in the official code.
        if dd.get("mid_block_add_attention", true)? {
            return Err(dd.unsupported("mid_block_add_attention", true, false));
        }
        let attention: Vec<usize> = dd.get("attn_resolutions", vec![8, 16, 32])?;
        if !attention.is_empty() {
            return Err(dd.unsupported("attn_resolutions", format!("{attention:?}"), "an empty list"));
        }
        let config = Self {
            ch: dd.get("ch", 128)?,
            ch_mult: dd.get("ch_mult", vec![1, 2, 4])?,
            num_res_blocks: dd.get("num_res_blocks", 2)?,
            out_ch: dd.get("out_ch", 2)?,
            mel_bins: dd
                .get("mel_bins", audio_vae.section("preprocessing").section("mel").get("n_mel_channels", 64)?)?,
            z_channels: dd.get("z_channels", 8)?,
            sample_rate: params.get("sampling_rate", 16000)?,
            hop_length: stft.get("hop_length", 160)?,
        };
        if config.mel_bins != LATENT_MEL_BINS << (config.ch_mult.len().max(1) - 1) {
            return Err(dd.unsupported("mel_bins", config.mel_bins, "16 doubled once per level above the first"));
        }
        Ok(config)
    }
}
