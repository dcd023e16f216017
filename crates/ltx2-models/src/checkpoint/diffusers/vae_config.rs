//! The `vae` section of the single file, from the configuration of diffusers' `AutoencoderKLLTX2Video`.

use serde_json::{Value, json};

use super::component_config::{ComponentConfig, Result};
use super::rules;
use crate::config::Section;

/// Number of downsampling levels of the video encoder.
pub(super) fn encoder_levels(vae: &ComponentConfig) -> Result<usize> {
    Ok(vae.section().require::<Vec<usize>>("block_out_channels")?.len())
}

/// Builds the `vae` section.
pub(super) fn vae(vae: &ComponentConfig) -> Result<Value> {
    let mut single = vae.apply(rules::VAE, "")?;
    single["encoder_blocks"] = encoder_blocks(vae)?;
    single["decoder_blocks"] = decoder_blocks(vae, &mut single)?;
    let s = vae.section();
    let mode = |key: &str| s.require::<String>(key);
    let modes = (mode("encoder_spatial_padding_mode")?, mode("decoder_spatial_padding_mode")?);
    match (modes.0.as_str(), modes.1.as_str()) {
        // The default of the single file, which has no key for it.
        ("zeros", "reflect") => {}
        (encoder, decoder) if encoder == decoder => single["spatial_padding_mode"] = json!(encoder),
        (encoder, decoder) => {
            let supported = format!("{encoder}, as in the encoder, or reflect after an encoder with zeros,");
            return Err(s.unsupported("decoder_spatial_padding_mode", decoder, supported));
        }
    }
    Ok(single)
}

/// Builds `encoder_blocks`: runs of residual blocks alternating with downsampling blocks, from pixels to latents.
fn encoder_blocks(vae: &ComponentConfig) -> Result<Value> {
    let s = vae.section();
    let (widths, layers): (Vec<usize>, Vec<usize>) = (s.require("block_out_channels")?, s.require("layers_per_block")?);
    let kinds: Vec<String> = s.require("downsample_type")?;
    for (key, length, expected) in
        [("layers_per_block", layers.len(), widths.len() + 1), ("downsample_type", kinds.len(), widths.len())]
    {
        check_length(&s, key, length, expected)?;
    }
    all_true(&s, "spatio_temporal_scaling", widths.len())?;
    let mut width: usize = s.require("latent_channels")?;
    let mut blocks = Vec::new();
    for (i, kind) in kinds.iter().enumerate() {
        blocks.push(json!(["res_x", {"num_layers": layers[i]}]));
        if width == 0 || !widths[i].is_multiple_of(width) {
            return Err(s.unsupported(
                "block_out_channels",
                format!("{widths:?}"),
                "a list in which each value is a multiple of the one before",
            ));
        }
        let name = format!("{}_res", compression(&s, "downsample_type", kind)?);
        blocks.push(json!([name, {"multiplier": widths[i] / width}]));
        width = widths[i];
    }
    blocks.push(json!(["res_x", {"num_layers": layers[widths.len()]}]));
    Ok(blocks.into())
}

/// Builds `decoder_blocks`, also listed from pixels to latents, and sets `decoder_base_channels` in `single`.
fn decoder_blocks(vae: &ComponentConfig, single: &mut Value) -> Result<Value> {
    let s = vae.section();
    let widths: Vec<usize> = s.require("decoder_block_out_channels")?;
    let (layers, factors): (Vec<usize>, Vec<usize>) =
        (s.require("decoder_layers_per_block")?, s.require("upsample_factor")?);
    let kinds: Vec<String> = s.require("upsample_type")?;
    let levels = widths.len();
    for (key, length, expected) in [
        ("decoder_layers_per_block", layers.len(), levels + 1),
        ("upsample_factor", factors.len(), levels),
        ("upsample_type", kinds.len(), levels),
    ] {
        check_length(&s, key, length, expected)?;
    }
    all_true(&s, "decoder_spatio_temporal_scaling", levels)?;
    if bools(&s, "decoder_inject_noise", levels + 1)?.contains(&true) {
        return Err(s.unsupported("decoder_inject_noise", vae.value("decoder_inject_noise"), false));
    }
    let residual = bools(&s, "upsample_residual", levels)?;
    let widest = widths.last().copied().unwrap_or(0);
    let narrows = |i: usize| widths[i].checked_div(factors[i]) == Some(widths[i - 1]);
    if !widest.is_multiple_of(8) || widest == 0 || !(1..levels).all(narrows) {
        let supported =
            "a list in which each value is the one before times its upsample_factor, the last one a multiple of 8,";
        return Err(s.unsupported("decoder_block_out_channels", format!("{widths:?}"), supported));
    }
    single["decoder_base_channels"] = json!(widest / 8);
    let mut blocks = vec![json!(["res_x", {"num_layers": layers[0]}])];
    for i in 0..levels {
        // Unlike the other lists, diffusers stores this one from latents to pixels.
        let kind = compression(&s, "upsample_type", &kinds[levels - 1 - i])?;
        if residual[i] && kind != "compress_all" {
            return Err(s.unsupported("upsample_residual", true, "false for all but spatiotemporal levels"));
        }
        blocks.push(json!([kind, {"multiplier": factors[i], "residual": residual[i]}]));
        blocks.push(json!(["res_x", {"num_layers": layers[i + 1]}]));
    }
    Ok(blocks.into())
}

fn compression(section: &Section, key: &str, kind: &str) -> Result<&'static str> {
    match kind {
        "spatial" => Ok("compress_space"),
        "temporal" => Ok("compress_time"),
        "spatiotemporal" => Ok("compress_all"),
        other => Err(section.unsupported(key, other, "spatial, temporal or spatiotemporal")),
    }
}

/// Reads a list of `length` booleans. A single boolean stands for the whole list.
fn bools(section: &Section, key: &str, length: usize) -> Result<Vec<bool>> {
    if let Ok(one) = section.require::<bool>(key) {
        return Ok(vec![one; length]);
    }
    let list: Vec<bool> = section.require(key)?;
    check_length(section, key, list.len(), length)?;
    Ok(list)
}

fn all_true(section: &Section, key: &str, length: usize) -> Result<()> {
    match bools(section, key, length)?.contains(&false) {
        true => Err(section.unsupported(key, false, true)),
        false => Ok(()),
    }
}

fn check_length(section: &Section, key: &str, length: usize, expected: usize) -> Result<()> {
    match length == expected {
        true => Ok(()),
        false => Err(section.unsupported(key, format!("a list of length {length}"), format!("length {expected}"))),
    }
}
