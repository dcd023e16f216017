//! The autoencoder's architecture, from the `vae` section of a checkpoint's config.

use serde_json::Value;

use super::conv::SpatialPadding;
use crate::config::{ConfigError, Section};

/// Blocks and widths of encoder and decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoVaeConfig {
    pub(super) latent_channels: usize,
    pub(super) patch_size: usize,
    pub(super) encoder_blocks: Vec<EncoderBlock>,
    pub(super) encoder_padding: SpatialPadding,
    pub(super) decoder_blocks: Vec<DecoderBlock>,
    pub(super) decoder_padding: SpatialPadding,
    pub(super) decoder_base_channels: usize,
    pub(super) causal_decoder: bool,
}

/// A step of the encoder, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EncoderBlock {
    /// Residual blocks.
    Res { layers: usize },
    /// Space (and time) to depth by `stride`, widening by `multiplier`.
    Compress { stride: [usize; 3], multiplier: usize },
}

/// A step of the decoder, in order of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DecoderBlock {
    /// Residual blocks.
    Res { layers: usize },
    /// Depth to space (and time) by `stride`, narrowing by `multiplier`.
    Expand { stride: [usize; 3], multiplier: usize, residual: bool },
}

impl VideoVaeConfig {
    /// Reads the section; refuses, by name, what is not implemented.
    pub fn new(vae: &Section) -> Result<Self, ConfigError> {
        vae.expect("dims", 3)?;
        vae.expect("in_channels", 3)?;
        vae.expect("out_channels", 3)?;
        vae.expect("norm_layer", "pixel_norm")?;
        vae.expect("latent_log_var", "uniform")?;
        vae.expect("use_quant_conv", false)?;
        // Absent, it would be true in the official code.
        if vae.get("timestep_conditioning", true)? {
            return Err(vae.unsupported("timestep_conditioning", true, false));
        }
        let mut decoder_blocks = blocks(vae, "decoder_blocks")?
            .into_iter()
            .map(|(name, params)| decoder_block(vae, &name, &params))
            .collect::<Result<Vec<_>, _>>()?;
        // The published list runs from pixels to latents.
        decoder_blocks.reverse();
        Ok(Self {
            latent_channels: vae.get("latent_channels", 128)?,
            patch_size: vae.get("patch_size", 4)?,
            encoder_blocks: blocks(vae, "encoder_blocks")?
                .into_iter()
                .map(|(name, params)| encoder_block(vae, &name, &params))
                .collect::<Result<_, _>>()?,
            encoder_padding: padding(vae, "zeros")?,
            decoder_blocks,
            decoder_padding: padding(vae, "reflect")?,
            decoder_base_channels: vae.get("decoder_base_channels", 128)?,
            causal_decoder: vae.get("causal_decoder", false)?,
        })
    }
}

impl VideoVaeConfig {
    /// Channels of the decoder's last level, which is the largest in memory.
    pub fn decoder_channels(&self) -> usize {
        let narrowed = |channels, block: &DecoderBlock| match block {
            DecoderBlock::Res { .. } => channels,
            DecoderBlock::Expand { multiplier, .. } => channels / multiplier,
        };
        self.decoder_blocks.iter().fold(self.decoder_base_channels * 8, narrowed)
    }
}

fn padding(vae: &Section, default: &str) -> Result<SpatialPadding, ConfigError> {
    match vae.get("spatial_padding_mode", default.to_string())?.as_str() {
        "zeros" => Ok(SpatialPadding::Zeros),
        "reflect" => Ok(SpatialPadding::Reflect),
        other => Err(vae.unsupported("spatial_padding_mode", other, "zeros or reflect")),
    }
}

fn blocks(vae: &Section, key: &str) -> Result<Vec<(String, Value)>, ConfigError> {
    vae.require(key)
}

fn parameter(params: &Value, key: &str, default: usize) -> usize {
    let value = if key == "num_layers" && params.is_number() { Some(params) } else { params.get(key) };
    value.and_then(Value::as_f64).map_or(default, |value| value as usize)
}

fn encoder_block(vae: &Section, name: &str, params: &Value) -> Result<EncoderBlock, ConfigError> {
    let stride = match name {
        "res_x" => return Ok(EncoderBlock::Res { layers: parameter(params, "num_layers", 1) }),
        "compress_space_res" => [1, 2, 2],
        "compress_time_res" => [2, 1, 1],
        "compress_all_res" => [2, 2, 2],
        other => return Err(vae.unsupported("encoder_blocks", other, "res_x or compress_{space,time,all}_res")),
    };
    Ok(EncoderBlock::Compress { stride, multiplier: parameter(params, "multiplier", 2) })
}

fn decoder_block(vae: &Section, name: &str, params: &Value) -> Result<DecoderBlock, ConfigError> {
    let flag = |key: &str| params.get(key).and_then(Value::as_bool).unwrap_or(false);
    if flag("inject_noise") {
        return Err(vae.unsupported("decoder_blocks", format!("{name} with inject_noise"), "a block without it"));
    }
    let stride = match name {
        "res_x" => return Ok(DecoderBlock::Res { layers: parameter(params, "num_layers", 1) }),
        "compress_space" => [1, 2, 2],
        "compress_time" => [2, 1, 1],
        "compress_all" => [2, 2, 2],
        other => return Err(vae.unsupported("decoder_blocks", other, "res_x or compress_{space,time,all}")),
    };
    // Only compress_all passes the flag on in the published code.
    let residual = name == "compress_all" && flag("residual");
    Ok(DecoderBlock::Expand { stride, multiplier: parameter(params, "multiplier", 1), residual })
}
