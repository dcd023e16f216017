//! The configuration of the single file, from the `config.json` files of a diffusers folder.

use serde_json::{Map, Value, json};

use super::component_config::{ComponentConfig, Result, set_path};
use super::rules;
use crate::config::Section;

/// Builds the `transformer` section, which also holds the configuration of the connectors.
pub(super) fn transformer(
    transformer: &ComponentConfig,
    connectors: &ComponentConfig,
    audio_vae: &ComponentConfig,
) -> Result<Value> {
    check_shared_values(transformer, connectors, audio_vae)?;
    let (t, c) = (transformer.section(), connectors.section());
    let per_modality: bool = c.require("per_modality_projections")?;
    let mut single = transformer.apply(rules::TRANSFORMER, "")?;
    for (key, value) in object(connectors.apply(rules::CONNECTORS, "")?) {
        single[key] = value;
    }
    let float = |section: &Section, key: &str| section.require::<f64>(key);
    single["positional_embedding_max_pos"] =
        json!([float(&t, "pos_embed_max_pos")?, float(&t, "base_height")?, float(&t, "base_width")?]);
    single["audio_positional_embedding_max_pos"] = json!([float(&t, "audio_pos_embed_max_pos")?]);
    single["connector_positional_embedding_max_pos"] = json!([float(&c, "connector_rope_base_seq_len")?]);
    single["frequencies_precision"] = json!(if t.require("rope_double_precision")? { "float64" } else { "float32" });
    if per_modality {
        let width = |heads, head| Ok(t.require_size(heads)? * t.require_size(head)?);
        let video_dim = width("num_attention_heads", "attention_head_dim")?;
        let audio_dim = width("audio_num_attention_heads", "audio_attention_head_dim")?;
        connectors.check_equal("video_hidden_dim", video_dim, "in the transformer")?;
        connectors.check_equal("audio_hidden_dim", audio_dim, "in the transformer")?;
        single["caption_proj_before_connector"] = json!(true);
        for key in ["caption_projection_first_linear", "caption_proj_input_norm", "caption_projection_second_linear"] {
            single[key] = json!(false);
        }
    }
    Ok(single)
}

/// Checks that values stored in several places are equal: those of the two modalities, and those of two components.
fn check_shared_values(
    transformer: &ComponentConfig,
    connectors: &ComponentConfig,
    audio_vae: &ComponentConfig,
) -> Result<()> {
    for (component, key, twin) in [
        (transformer, "audio_gated_attn", "gated_attn"),
        (transformer, "audio_cross_attn_mod", "cross_attn_mod"),
        (connectors, "audio_gated_attn", "video_gated_attn"),
        (connectors, "audio_connector_num_learnable_registers", "video_connector_num_learnable_registers"),
        (connectors, "proj_bias", "per_modality_projections"),
    ] {
        component.check_equal(key, component.value(twin).clone(), twin)?;
    }
    for key in ["rope_type", "rope_double_precision", "caption_channels"] {
        connectors.check_equal(key, transformer.value(key).clone(), "in the transformer")?;
    }
    transformer.check_equal("audio_sampling_rate", audio_vae.value("sample_rate").clone(), "in the audio VAE")?;
    transformer.check_equal("audio_hop_length", audio_vae.value("mel_hop_length").clone(), "in the audio VAE")?;
    let c = connectors.section();
    c.require::<usize>("video_connector_num_learnable_registers")?;
    let per_modality: bool = c.require("per_modality_projections")?;
    transformer.check_equal(
        "use_prompt_embeddings",
        !per_modality,
        "per_modality_projections of the connectors requires",
    )
}

/// Returns the `model_version` of the single file with the same transformer.
pub(super) fn version(transformer: &ComponentConfig) -> Result<&'static str> {
    Ok(if transformer.section().require("cross_attn_mod")? { "2.3" } else { "2.0" })
}

/// Builds the `audio_vae` section.
pub(super) fn audio_vae(audio_vae: &ComponentConfig) -> Result<Value> {
    let mut single = audio_vae.apply(rules::AUDIO_VAE, "")?;
    let attention: Vec<usize> = audio_vae.section().get("attn_resolutions", Vec::new())?;
    set_path(&mut single, "model.params.ddconfig.attn_resolutions", json!(attention));
    set_path(&mut single, "preprocessing.mel.n_mel_channels", audio_vae.value("mel_bins").clone());
    Ok(single)
}

/// Builds the `vocoder` section.
pub(super) fn vocoder(vocoder: &ComponentConfig) -> Result<Value> {
    let mut first = vocoder.apply(rules::VOCODER, "")?;
    first["stereo"] = json!(true);
    first["use_tanh_at_final"] = json!(match vocoder.value("final_act_fn").as_str() {
        Some("tanh") => true,
        // The single file of LTX-2.3 clamps the output, for which diffusers has null.
        Some("clamp") | None => false,
        Some(other) => return Err(vocoder.section().unsupported("final_act_fn", other, "tanh, clamp or null")),
    });
    if vocoder.class() == "LTX2Vocoder" {
        first["resblock"] = json!("1");
        first["output_sampling_rate"] = vocoder.value("output_sampling_rate").clone();
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

/// Builds the configuration of a latent upsampler. `rational` says whether the file has the tensors of the rational
/// resampler; it stands in for `use_rational_resampler`, which older files lack.
pub(super) fn latent_upsampler(json: &Value, rational: bool) -> Result<Value> {
    let mut json = json.clone();
    if json.get("use_rational_resampler").is_none() && json.is_object() {
        json["use_rational_resampler"] = json!(rational);
    }
    ComponentConfig::new(&json, &["LTX2LatentUpsamplerModel"])?.apply(rules::LATENT_UPSAMPLER, "")
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
