//! Architecture of the video autoencoder, from the `vae` section of a checkpoint's config.

use serde_json::Value;

use super::conv::SpatialPadding;
use crate::config::{ConfigError, SIZES, Section};

/// Frames per latent frame. The first latent frame has a single frame.
pub const TIME_SCALE: usize = 8;
/// Pixels per latent cell, in height and in width.
pub const SPACE_SCALE: usize = 32;

/// Blocks and dimensions of encoder and decoder.
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

/// A block of the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EncoderBlock {
    /// Residual blocks.
    Res { layers: usize },
    /// Space-to-depth downsampling by `stride` in time, height and width, with `multiplier` times as many channels.
    Compress { stride: [usize; 3], multiplier: usize },
}

/// A block of the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DecoderBlock {
    /// Residual blocks.
    Res { layers: usize },
    /// Depth-to-space upsampling by `stride` in time, height and width, with the number of channels divided by
    /// `multiplier`.
    Expand { stride: [usize; 3], multiplier: usize, residual: bool },
}

impl VideoVaeConfig {
    /// Reads the section.
    ///
    /// # Errors
    ///
    /// If a value is not supported; the error names the key.
    pub fn new(vae: &Section) -> Result<Self, ConfigError> {
        vae.expect("_class_name", "CausalVideoAutoencoder")?;
        vae.expect("dims", 3)?;
        vae.expect("in_channels", 3)?;
        vae.expect("out_channels", 3)?;
        vae.expect("norm_layer", "pixel_norm")?;
        vae.expect("latent_log_var", "uniform")?;
        vae.expect("use_quant_conv", false)?;
        // The official default is true.
        if vae.get("timestep_conditioning", true)? {
            return Err(vae.unsupported("timestep_conditioning", true, false));
        }
        let mut decoder_blocks = blocks(vae, "decoder_blocks")?
            .into_iter()
            .map(|(name, params)| decoder_block(vae, &name, &params))
            .collect::<Result<Vec<_>, _>>()?;
        // The config lists decoder blocks from pixels to latents.
        decoder_blocks.reverse();
        let config = Self {
            latent_channels: vae.size("latent_channels", 128)?,
            patch_size: vae.size("patch_size", 4)?,
            encoder_blocks: blocks(vae, "encoder_blocks")?
                .into_iter()
                .map(|(name, params)| encoder_block(vae, &name, &params))
                .collect::<Result<_, _>>()?,
            encoder_padding: padding(vae, "zeros")?,
            decoder_blocks,
            decoder_padding: padding(vae, "reflect")?,
            decoder_base_channels: vae.size("decoder_base_channels", 128)?,
            causal_decoder: vae.get("causal_decoder", false)?,
        };
        config.check_encoder(vae)?;
        config.check_decoder(vae)?;
        Ok(config)
    }

    /// Refuses downsamplings that do not divide the channels into equal groups.
    fn check_encoder(&self, vae: &Section) -> Result<(), ConfigError> {
        let mut channels = self.latent_channels;
        for block in &self.encoder_blocks {
            let EncoderBlock::Compress { stride, multiplier } = *block else { continue };
            let volume: usize = stride.iter().product();
            let wider = channels * multiplier;
            if !SIZES.contains(&wider) || !wider.is_multiple_of(volume) || !volume.is_multiple_of(multiplier) {
                let found = format!("a multiplier of {multiplier} for {channels} channels and strides {stride:?}");
                return Err(vae.unsupported(
                    "encoder_blocks",
                    found,
                    "one that divides the channels into equal groups",
                ));
            }
            channels = wider;
        }
        Ok(())
    }

    /// Refuses upsamplings that do not divide the channels into equal groups.
    fn check_decoder(&self, vae: &Section) -> Result<(), ConfigError> {
        let mut channels = self.decoder_base_channels * 8;
        for block in &self.decoder_blocks {
            let DecoderBlock::Expand { stride, multiplier, residual } = *block else { continue };
            let volume: usize = stride.iter().product();
            let repeats = volume.is_multiple_of(multiplier) && channels.is_multiple_of(volume);
            if !channels.is_multiple_of(multiplier) || (residual && !repeats) {
                let found = format!("a multiplier of {multiplier} for {channels} channels and strides {stride:?}");
                return Err(vae.unsupported(
                    "decoder_blocks",
                    found,
                    "one that divides the channels into equal groups",
                ));
            }
            channels /= multiplier;
        }
        Ok(())
    }

    /// Number of channels of the last decoder level, which takes the most memory.
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

/// A non-negative integer among the parameters of a block. Parameters that are a single number are `num_layers`.
fn parameter(
    (vae, list_key): (&Section, &str),
    params: &Value,
    key: &str,
    default: usize,
) -> Result<usize, ConfigError> {
    let value = if key == "num_layers" && params.is_number() { Some(params) } else { params.get(key) };
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(default) };
    let integer = value.as_f64().filter(|number| number.fract() == 0.0 && *number >= 0.0).map(|number| number as usize);
    let is_none = key == "num_layers" && integer == Some(0);
    integer.filter(|number| is_none || SIZES.contains(number)).ok_or_else(|| {
        let supported = format!("an integer from {} to {}", SIZES.start(), SIZES.end());
        vae.unsupported(list_key, format!("{key} of {value}"), supported)
    })
}

fn encoder_block(vae: &Section, name: &str, params: &Value) -> Result<EncoderBlock, ConfigError> {
    let from = (vae, "encoder_blocks");
    let stride = match name {
        "res_x" => return Ok(EncoderBlock::Res { layers: parameter(from, params, "num_layers", 1)? }),
        "compress_space_res" => [1, 2, 2],
        "compress_time_res" => [2, 1, 1],
        "compress_all_res" => [2, 2, 2],
        other => return Err(vae.unsupported("encoder_blocks", other, "res_x or compress_{space,time,all}_res")),
    };
    Ok(EncoderBlock::Compress { stride, multiplier: parameter(from, params, "multiplier", 2)? })
}

fn decoder_block(vae: &Section, name: &str, params: &Value) -> Result<DecoderBlock, ConfigError> {
    let from = (vae, "decoder_blocks");
    let flag = |key: &str| params.get(key).and_then(Value::as_bool).unwrap_or(false);
    if flag("inject_noise") {
        return Err(vae.unsupported("decoder_blocks", format!("{name} with inject_noise"), "a block without it"));
    }
    let stride = match name {
        "res_x" => return Ok(DecoderBlock::Res { layers: parameter(from, params, "num_layers", 1)? }),
        "compress_space" => [1, 2, 2],
        "compress_time" => [2, 1, 1],
        "compress_all" => [2, 2, 2],
        other => return Err(vae.unsupported("decoder_blocks", other, "res_x or compress_{space,time,all}")),
    };
    // The official code passes the flag on only for compress_all.
    let residual = name == "compress_all" && flag("residual");
    Ok(DecoderBlock::Expand { stride, multiplier: parameter(from, params, "multiplier", 1)?, residual })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn refuses_unsupported_blocks() {
        let read = |key: &str, value: Value| {
            let mut config = json!({"timestep_conditioning": false,
                "encoder_blocks": [["res_x", 1], ["compress_all_res", {"multiplier": 2}]],
                "decoder_blocks": [["compress_all", {"multiplier": 2, "residual": true}], ["res_x", {"num_layers": 2.0}]]});
            config[key] = value;
            VideoVaeConfig::new(&Section::root(&config))
        };
        assert_eq!(read("patch_size", json!(4)).unwrap().decoder_channels(), 512);
        for (key, value, expected) in [
            ("decoder_blocks", json!([["compress_all", {"multiplier": 0}]]), "decoder_blocks is multiplier of 0"),
            ("decoder_blocks", json!([["compress_time", {"multiplier": 3}]]), "a multiplier of 3 for 1024 channels"),
            ("decoder_blocks", json!([["res_x", {"num_layers": -1}]]), "num_layers of -1"),
            ("encoder_blocks", json!([["res_x", 1e300]]), "num_layers of 1e+300"),
            (
                "encoder_blocks",
                json!([["compress_all_res", {"multiplier": 16}]]),
                "a multiplier of 16 for 128 channels",
            ),
            ("encoder_blocks", json!([["compress_all_res", {"multiplier": "2"}]]), "multiplier of \"2\""),
            ("decoder_base_channels", json!(u64::MAX), "decoder_base_channels is 18446744073709551615"),
            ("latent_channels", json!(0), "latent_channels is 0"),
            ("patch_size", json!(0), "patch_size is 0"),
        ] {
            let error = read(key, value).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
