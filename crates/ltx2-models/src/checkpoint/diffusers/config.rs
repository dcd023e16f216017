//! The folders' `config.json` files as the one configuration that the single file has in its metadata.

use serde_json::{Map, Value, json};

use super::rules::{self, Rule, Rules};
use crate::config::{ConfigError, Section};

type Result<T> = std::result::Result<T, ConfigError>;

/// A folder's configuration, completed with its class's defaults.
pub(super) struct Component {
    class: String,
    values: Value,
    defaults: Value,
}

impl Component {
    /// `given` is a `config.json` of one of `classes`.
    pub(super) fn new(given: &Value, classes: &[&str]) -> Result<Self> {
        let root = Section::root(given);
        let class: String = root.require("_class_name")?;
        if !classes.contains(&class.as_str()) {
            return Err(root.unsupported("_class_name", class, classes.join(" or ")));
        }
        let defaults = defaults(&class);
        let mut values = defaults.clone();
        for (key, value) in given.as_object().into_iter().flatten() {
            values[key] = value.clone();
        }
        Ok(Self { class, values, defaults })
    }

    fn section(&self) -> Section<'_> {
        Section::root(&self.values)
    }

    /// What `rules` make of the keys that begin with `prefix`.
    fn apply(&self, rules: Rules, prefix: &str) -> Result<Value> {
        let mut ours = json!({});
        for (key, rule) in rules {
            let key = format!("{prefix}{key}");
            match rule {
                Rule::Is(path) => set(&mut ours, path, self.values[&key].clone()),
                Rule::Default => self.section().expect(&key, self.defaults[&key].clone())?,
                Rule::Joint | Rule::Unused => {}
            }
        }
        Ok(ours)
    }

    /// Refuses the value of `key` unless it is `other`, which is what `whose` says.
    fn agrees(&self, key: &str, other: impl Into<Value>, whose: &str) -> Result<()> {
        let other = other.into();
        if self.values[key] == other {
            return Ok(());
        }
        Err(self.section().unsupported(key, &self.values[key], format!("{other}, as {whose},")))
    }
}

/// What the classes' constructors take where a `config.json` says nothing.
pub(super) fn defaults(class: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("defaults.json")).expect("a JSON file of our own");
    all.get(class).cloned().unwrap_or_else(|| json!({}))
}

/// Sets the value at a dotted path.
fn set(target: &mut Value, path: &str, value: Value) {
    match path.split_once('.') {
        None => target[path] = value,
        Some((first, rest)) => {
            if !target[first].is_object() {
                target[first] = json!({});
            }
            set(&mut target[first], rest, value);
        }
    }
}

/// The `transformer` section, which has the connectors' keys too.
pub(super) fn transformer(transformer: &Component, connectors: &Component, audio_vae: &Component) -> Result<Value> {
    let (t, c) = (transformer.section(), connectors.section());
    for (component, key, twin) in [
        (transformer, "audio_gated_attn", "gated_attn"),
        (transformer, "audio_cross_attn_mod", "cross_attn_mod"),
        (connectors, "audio_gated_attn", "video_gated_attn"),
        (connectors, "audio_connector_num_learnable_registers", "video_connector_num_learnable_registers"),
        (connectors, "proj_bias", "per_modality_projections"),
    ] {
        component.agrees(key, component.values[twin].clone(), twin)?;
    }
    for (key, other, theirs) in [
        ("rope_type", transformer, "rope_type"),
        ("rope_double_precision", transformer, "rope_double_precision"),
        ("caption_channels", transformer, "caption_channels"),
    ] {
        connectors.agrees(key, other.values[theirs].clone(), "the transformer says")?;
    }
    transformer.agrees("audio_sampling_rate", audio_vae.values["sample_rate"].clone(), "the audio VAE says")?;
    transformer.agrees("audio_hop_length", audio_vae.values["mel_hop_length"].clone(), "the audio VAE says")?;
    c.require::<usize>("video_connector_num_learnable_registers")?;
    let per_modality: bool = c.require("per_modality_projections")?;
    transformer.agrees("use_prompt_embeddings", !per_modality, "the connectors' projections ask")?;

    let mut ours = transformer.apply(rules::TRANSFORMER, "")?;
    for (key, value) in object(connectors.apply(rules::CONNECTORS, "")?) {
        ours[key] = value;
    }
    let number = |section: &Section, key: &str| section.require::<f64>(key);
    ours["positional_embedding_max_pos"] =
        json!([number(&t, "pos_embed_max_pos")?, number(&t, "base_height")?, number(&t, "base_width")?]);
    ours["audio_positional_embedding_max_pos"] = json!([number(&t, "audio_pos_embed_max_pos")?]);
    ours["connector_positional_embedding_max_pos"] = json!([number(&c, "connector_rope_base_seq_len")?]);
    ours["frequencies_precision"] = json!(if t.require("rope_double_precision")? { "float64" } else { "float32" });
    if per_modality {
        let width = |heads, head| Ok(t.require_size(heads)? * t.require_size(head)?);
        connectors.agrees(
            "video_hidden_dim",
            width("num_attention_heads", "attention_head_dim")?,
            "the transformer is",
        )?;
        let audio = width("audio_num_attention_heads", "audio_attention_head_dim")?;
        connectors.agrees("audio_hidden_dim", audio, "the transformer is")?;
        ours["caption_proj_before_connector"] = json!(true);
        for key in ["caption_projection_first_linear", "caption_proj_input_norm", "caption_projection_second_linear"] {
            ours[key] = json!(false);
        }
    }
    Ok(ours)
}

/// `model_version` of the single file with the same transformer.
pub(super) fn version(transformer: &Component) -> Result<&'static str> {
    Ok(if transformer.section().require("cross_attn_mod")? { "2.3" } else { "2.0" })
}

/// How often the video encoder shrinks.
pub(super) fn encoder_levels(vae: &Component) -> Result<usize> {
    Ok(vae.section().require::<Vec<usize>>("block_out_channels")?.len())
}

/// The `vae` section.
pub(super) fn vae(vae: &Component) -> Result<Value> {
    let mut ours = vae.apply(rules::VAE, "")?;
    ours["encoder_blocks"] = encoder_blocks(vae)?;
    ours["decoder_blocks"] = decoder_blocks(vae, &mut ours)?;
    let s = vae.section();
    let mode = |key: &str| s.require::<String>(key);
    let modes = (mode("encoder_spatial_padding_mode")?, mode("decoder_spatial_padding_mode")?);
    match (modes.0.as_str(), modes.1.as_str()) {
        // The single file says so by silence.
        ("zeros", "reflect") => {}
        (encoder, decoder) if encoder == decoder => ours["spatial_padding_mode"] = json!(encoder),
        (encoder, decoder) => {
            let supported = format!("{encoder}, as the encoder's, or reflect after an encoder with zeros,");
            return Err(s.unsupported("decoder_spatial_padding_mode", decoder, supported));
        }
    }
    Ok(ours)
}

/// Runs of residual blocks, and between them changes of size, from pixels to latents.
fn encoder_blocks(vae: &Component) -> Result<Value> {
    let s = vae.section();
    let (widths, layers): (Vec<usize>, Vec<usize>) = (s.require("block_out_channels")?, s.require("layers_per_block")?);
    let kinds: Vec<String> = s.require("downsample_type")?;
    for (key, length, wanted) in
        [("layers_per_block", layers.len(), widths.len() + 1), ("downsample_type", kinds.len(), widths.len())]
    {
        check_length(&s, key, length, wanted)?;
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
                "a list of multiples of the one before",
            ));
        }
        let name = format!("{}_res", compression(&s, "downsample_type", kind)?);
        blocks.push(json!([name, {"multiplier": widths[i] / width}]));
        width = widths[i];
    }
    blocks.push(json!(["res_x", {"num_layers": layers[widths.len()]}]));
    Ok(blocks.into())
}

/// The same for the decoder, from pixels to latents too; sets `decoder_base_channels`.
fn decoder_blocks(vae: &Component, ours: &mut Value) -> Result<Value> {
    let s = vae.section();
    let widths: Vec<usize> = s.require("decoder_block_out_channels")?;
    let (layers, factors): (Vec<usize>, Vec<usize>) =
        (s.require("decoder_layers_per_block")?, s.require("upsample_factor")?);
    let kinds: Vec<String> = s.require("upsample_type")?;
    let levels = widths.len();
    for (key, length, wanted) in [
        ("decoder_layers_per_block", layers.len(), levels + 1),
        ("upsample_factor", factors.len(), levels),
        ("upsample_type", kinds.len(), levels),
    ] {
        check_length(&s, key, length, wanted)?;
    }
    all_true(&s, "decoder_spatio_temporal_scaling", levels)?;
    if bools(&s, "decoder_inject_noise", levels + 1)?.contains(&true) {
        return Err(s.unsupported("decoder_inject_noise", &vae.values["decoder_inject_noise"], false));
    }
    let residual = bools(&s, "upsample_residual", levels)?;
    let widest = widths.last().copied().unwrap_or(0);
    let narrows = |i: usize| widths[i].checked_div(factors[i]) == Some(widths[i - 1]);
    if !widest.is_multiple_of(8) || widest == 0 || !(1..levels).all(narrows) {
        let supported = "a list in which each is the one before times its upsample_factor, up to a multiple of 8,";
        return Err(s.unsupported("decoder_block_out_channels", format!("{widths:?}"), supported));
    }
    ours["decoder_base_channels"] = json!(widest / 8);
    let mut blocks = vec![json!(["res_x", {"num_layers": layers[0]}])];
    for i in 0..levels {
        // Alone among these lists, diffusers has this one in the order of use.
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

/// A list of `length`, or one value for all.
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

fn check_length(section: &Section, key: &str, length: usize, wanted: usize) -> Result<()> {
    match length == wanted {
        true => Ok(()),
        false => Err(section.unsupported(key, format!("a list of {length}"), format!("one of {wanted}"))),
    }
}

/// The `audio_vae` section.
pub(super) fn audio_vae(audio_vae: &Component) -> Result<Value> {
    let mut ours = audio_vae.apply(rules::AUDIO_VAE, "")?;
    let attention: Vec<usize> = audio_vae.section().get("attn_resolutions", Vec::new())?;
    set(&mut ours, "model.params.ddconfig.attn_resolutions", json!(attention));
    set(&mut ours, "preprocessing.mel.n_mel_channels", audio_vae.values["mel_bins"].clone());
    Ok(ours)
}

/// The `vocoder` section.
pub(super) fn vocoder(vocoder: &Component) -> Result<Value> {
    let mut first = vocoder.apply(rules::VOCODER, "")?;
    first["stereo"] = json!(true);
    first["use_tanh_at_final"] = json!(match vocoder.values["final_act_fn"].as_str() {
        Some("tanh") => true,
        // The single file of LTX-2.3 clamps what diffusers leaves as it is.
        Some("clamp") | None => false,
        Some(other) => return Err(vocoder.section().unsupported("final_act_fn", other, "tanh, clamp or null")),
    });
    if vocoder.class == "LTX2Vocoder" {
        first["resblock"] = json!("1");
        first["output_sampling_rate"] = vocoder.values["output_sampling_rate"].clone();
        return Ok(first);
    }
    let periodic = [("resblock", "AMP1"), ("activation", "snakebeta")];
    let mut second = vocoder.apply(rules::VOCODER, "bwe_")?;
    vocoder.section().expect("bwe_final_act_fn", Value::Null)?;
    for (key, value) in object(vocoder.apply(rules::BANDWIDTH_EXTENSION, "")?) {
        second[key] = value;
    }
    second["stereo"] = json!(true);
    second["apply_final_activation"] = json!(false);
    for (key, value) in periodic {
        first[key] = json!(value);
        second[key] = json!(value);
    }
    Ok(json!({"vocoder": first, "bwe": second}))
}

/// An upsampler's whole configuration. Where older files do not say it, `rational` tells whether it has the rational
/// resampler's tensors.
pub(super) fn latent_upsampler(given: &Value, rational: bool) -> Result<Value> {
    let mut given = given.clone();
    if given.get("use_rational_resampler").is_none() && given.is_object() {
        given["use_rational_resampler"] = json!(rational);
    }
    Component::new(&given, &["LTX2LatentUpsamplerModel"])?.apply(rules::LATENT_UPSAMPLER, "")
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
