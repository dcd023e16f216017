//! Tests of the tables against the tensors and defaults of the diffusers classes (`scripts/list_diffusers_tensors.py`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::component_config::{ComponentConfig, class_defaults};
use super::{config, rules, vae_config};
use crate::audio_vae::AudioVaeConfig;
use crate::config::{ConfigError, Section};
use crate::diffusers_names::COMPONENTS;
use crate::text_encoder::EmbeddingsConfig;
use crate::transformer::TransformerConfig;
use crate::upsampler::UpsamplerConfig;
use crate::video_vae::VideoVaeConfig;
use crate::vocoder::VocoderConfig;

const CLASSES: [&str; 7] = [
    "LTX2VideoTransformer3DModel",
    "LTX2TextConnectors",
    "AutoencoderKLLTX2Video",
    "AutoencoderKLLTX2Audio",
    "LTX2Vocoder",
    "LTX2VocoderWithBWE",
    "LTX2LatentUpsamplerModel",
];

/// A published model in both layouts.
struct Generation {
    /// `config.json` by folder.
    folders: Value,
    folder_tensors: &'static str,
    single_config: Value,
    single_tensors: &'static str,
}

macro_rules! generation {
    ($name:literal) => {
        Generation {
            folders: json(include_str!(concat!("../../../tests/fixtures/diffusers/", $name, ".json"))),
            folder_tensors: include_str!(concat!("../../../tests/fixtures/diffusers/", $name, ".tensors")),
            single_config:
                json(include_str!(concat!("../../../../../models/architectures/", $name, ".json")))["config"].clone(),
            single_tensors: include_str!(concat!("../../../tests/fixtures/", $name, ".tensors")),
        }
    };
}

fn generations() -> [Generation; 2] {
    [generation!("ltx-2-19b"), generation!("ltx-2.3-22b")]
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Parses a committed tensor list and expands its repeated blocks.
fn tensors(list: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for line in list.lines() {
        let (name, shape) = line.split_once(' ').unwrap_or((line, ""));
        match name.split_once(".*") {
            None => drop(all.insert(name.to_string(), shape.to_string())),
            Some((before, after)) => {
                let (count, after) = after.split_once('.').unwrap();
                for i in 0..count.parse().unwrap() {
                    all.insert(format!("{before}.{i}.{after}"), shape.to_string());
                }
            }
        }
    }
    all
}

fn component(folders: &Value, name: &str) -> ComponentConfig {
    ComponentConfig::new(&folders[name], &CLASSES).unwrap()
}

/// Converts the configuration of all folders.
fn configuration(folders: &Value) -> Result<Value, ConfigError> {
    let config = |name| component(folders, name);
    Ok(serde_json::json!({
        "transformer": config::transformer(&config("transformer"), &config("connectors"), &config("audio_vae"))?,
        "vae": vae_config::vae(&config("vae"))?,
        "audio_vae": config::audio_vae(&config("audio_vae"))?,
        "vocoder": config::vocoder(&config("vocoder"))?,
    }))
}

#[test]
fn both_layouts_have_the_same_tensors() {
    for Generation { folders, folder_tensors, single_tensors, .. } in generations() {
        let levels = vae_config::encoder_levels(&component(&folders, "vae")).unwrap();
        let mut renamed = BTreeMap::new();
        for (name, shape) in tensors(folder_tensors) {
            let (folder, name) = name.split_once('/').unwrap();
            let Some(names) = COMPONENTS.iter().find(|names| names.folder == folder) else { continue };
            let previous = renamed.insert(names.rename(name, levels), shape);
            assert!(previous.is_none(), "{folder}/{name} is renamed to the name of another tensor");
        }
        // The list of the single file has loaded tensors only: no inverse STFT.
        renamed.retain(|name, _| !name.ends_with("stft_fn.inverse_basis"));
        let mut single = tensors(single_tensors);
        single.retain(|name, _| !name.starts_with("language_model."));
        assert!(single.len() > 3000);
        for (name, shape) in &single {
            assert_eq!(renamed.get(name), Some(shape), "{name}");
        }
        for name in renamed.keys() {
            assert!(single.contains_key(name), "{name} is not in the single file");
        }
    }
}

#[test]
fn both_layouts_have_the_same_configuration() {
    for Generation { folders, single_config, .. } in generations() {
        let converted = configuration(&folders).unwrap();
        let (a, b) = (Section::root(&converted), Section::root(&single_config));
        let (t, u) = (a.section("transformer"), b.section("transformer"));
        assert_eq!(TransformerConfig::new(&t), TransformerConfig::new(&u));
        assert_eq!(EmbeddingsConfig::new(&t), EmbeddingsConfig::new(&u));
        assert_eq!(VideoVaeConfig::new(&a.section("vae")), VideoVaeConfig::new(&b.section("vae")));
        assert_eq!(AudioVaeConfig::new(&a.section("audio_vae")), AudioVaeConfig::new(&b.section("audio_vae")));
        assert_eq!(VocoderConfig::new(&a.section("vocoder")), VocoderConfig::new(&b.section("vocoder")));
        assert!(TransformerConfig::new(&t).is_ok());
    }
}

#[test]
fn model_version_follows_the_generation() {
    let versions = generations().map(|g| config::version(&component(&g.folders, "transformer")).unwrap());
    assert_eq!(versions, ["2.0", "2.3"]);
}

#[test]
fn rules_cover_exactly_the_keys_of_each_class() {
    let with = |rules: rules::KeyRules, prefix: &str| -> BTreeSet<String> {
        rules.iter().map(|(key, _)| format!("{prefix}{key}")).collect()
    };
    let vocoder = with(rules::VOCODER, "");
    let extension = with(rules::VOCODER, "bwe_").into_iter().chain(with(rules::BANDWIDTH_EXTENSION, ""));
    let with_bwe = vocoder.iter().cloned().chain(extension).collect();
    let without_bwe = vocoder.iter().cloned().chain(["output_sampling_rate".to_string()]).collect();
    for (class, known) in CLASSES.into_iter().zip([
        with(rules::TRANSFORMER, ""),
        with(rules::CONNECTORS, ""),
        with(rules::VAE, ""),
        with(rules::AUDIO_VAE, ""),
        without_bwe,
        with_bwe,
        with(rules::LATENT_UPSAMPLER, ""),
    ]) {
        let keys: BTreeSet<String> = class_defaults(class).as_object().unwrap().keys().cloned().collect();
        assert_eq!(known, keys, "{class}");
    }
}

#[test]
fn unsupported_values_are_rejected_by_name() {
    for (folder, key, value, expected) in [
        ("transformer", "patch_size", json("2"), "patch_size is 2, but only 1"),
        ("transformer", "audio_gated_attn", json("true"), "audio_gated_attn is true, but only false, as gated_attn,"),
        ("transformer", "ff_bias", json("false"), "ff_bias is false, but only true"),
        ("transformer", "audio_sampling_rate", json("8000"), "audio_sampling_rate is 8000, but only 16000"),
        ("transformer", "_class_name", json("\"FluxTransformer\""), "_class_name is FluxTransformer"),
        ("connectors", "rope_type", json("\"interleaved\""), "rope_type is \"interleaved\", but only \"split\""),
        ("connectors", "per_modality_projections", json("true"), "proj_bias is false, but only true"),
        ("connectors", "video_connector_num_learnable_registers", json("null"), "num_learnable_registers"),
        ("vae", "downsample_type", json("[\"spatial\"]"), "downsample_type is a list of length 1, but only length 4"),
        ("vae", "upsample_type", json("[\"up\", \"up\", \"up\"]"), "upsample_type is up"),
        ("vae", "decoder_inject_noise", json("true"), "decoder_inject_noise is true"),
        (
            "vae",
            "decoder_block_out_channels",
            json("[256, 512, 2048]"),
            "decoder_block_out_channels is [256, 512, 2048]",
        ),
        ("vae", "block_out_channels", json("[0, 0, 0, 0]"), "block_out_channels"),
        ("vae", "encoder_spatial_padding_mode", json("\"reflect\""), ""),
        ("vocoder", "final_act_fn", json("\"relu\""), "final_act_fn is relu"),
        ("vocoder", "act_fn", json("\"snake\""), "act_fn is \"snake\""),
    ] {
        let mut folders = generations()[0].folders.clone();
        folders[folder][key] = value;
        let result = match ComponentConfig::new(&folders[folder], &CLASSES) {
            Ok(_) => configuration(&folders),
            Err(error) => Err(error),
        };
        match (result, expected) {
            (Ok(_), "") => {}
            (Ok(_), _) => panic!("{folder}.{key} is accepted"),
            (Err(error), _) => assert!(error.to_string().contains(expected), "{key}: {error}"),
        }
    }
}

#[test]
fn upsampler_kind_is_read_from_its_key_or_its_tensors() {
    let convert = |text: &str, rational| config::latent_upsampler(&json(text), rational).unwrap();
    let class = r#"{"_class_name": "LTX2LatentUpsamplerModel""#;
    assert_eq!(convert(&format!("{class}}}"), false)["rational_resampler"], false);
    assert_eq!(convert(&format!("{class}}}"), true)["rational_resampler"], true);
    let explicit =
        convert(&format!("{class}, \"use_rational_resampler\": true, \"rational_spatial_scale\": 1.5}}"), false);
    assert_eq!(
        (explicit["rational_resampler"].clone(), explicit["spatial_scale"].clone()),
        (json("true"), json("1.5"))
    );
    assert!(UpsamplerConfig::new(&Section::root(&convert(&format!("{class}}}"), false))).is_ok());
}

#[test]
fn huge_indices_and_sizes_are_rejected_without_overflow() {
    let vae = COMPONENTS.iter().find(|names| names.folder == "vae").unwrap();
    for index in ["9223372036854775808", "18446744073709551615", "99999"] {
        let name = format!("encoder.down_blocks.{index}.downsamplers.0.conv.weight");
        assert_eq!(vae.rename(&name, 4), format!("vae.{name}"));
    }
    let mut folders = generations()[1].folders.clone();
    for (key, value) in [("num_attention_heads", 1_u64 << 40), ("attention_head_dim", 1 << 40)] {
        folders["transformer"][key] = value.into();
    }
    let error = configuration(&folders).unwrap_err().to_string();
    assert!(error.contains("num_attention_heads is 1099511627776, but only a number from 1 to"), "{error}");
}
