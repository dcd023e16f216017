//! The tables against what the classes declare (`scripts/list_diffusers_tensors.py`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::config::{self, Component};
use super::names::COMPONENTS;
use super::rules;
use crate::Section;
use crate::audio_vae::AudioVaeConfig;
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

/// A model generation: configurations and tensors of the folders, configuration and tensors of the single file.
struct Generation {
    folders: Value,
    listed: &'static str,
    single: Value,
    official: &'static str,
}

macro_rules! generation {
    ($name:literal) => {
        Generation {
            folders: json(include_str!(concat!("../../../tests/fixtures/diffusers/", $name, ".json"))),
            listed: include_str!(concat!("../../../tests/fixtures/diffusers/", $name, ".tensors")),
            single: json(include_str!(concat!("../../../../../models/architectures/", $name, ".json")))["config"]
                .clone(),
            official: include_str!(concat!("../../../tests/fixtures/", $name, ".tensors")),
        }
    };
}

fn generations() -> [Generation; 2] {
    [generation!("ltx-2-19b"), generation!("ltx-2.3-22b")]
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A committed list, repeated blocks written out.
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

fn component(folders: &Value, name: &str) -> Component {
    Component::new(&folders[name], &CLASSES).unwrap()
}

/// The single file's configuration, made of the folders'.
fn configuration(folders: &Value) -> Result<Value, crate::ConfigError> {
    let part = |name| component(folders, name);
    Ok(serde_json::json!({
        "transformer": config::transformer(&part("transformer"), &part("connectors"), &part("audio_vae"))?,
        "vae": config::vae(&part("vae"))?,
        "audio_vae": config::audio_vae(&part("audio_vae"))?,
        "vocoder": config::vocoder(&part("vocoder"))?,
    }))
}

#[test]
fn every_tensor_of_the_single_file_is_in_the_folders_and_the_reverse() {
    for Generation { folders, listed, official, .. } in generations() {
        let levels = config::encoder_levels(&component(&folders, "vae")).unwrap();
        let mut ours = BTreeMap::new();
        for (name, shape) in tensors(listed) {
            let (folder, name) = name.split_once('/').unwrap();
            let Some(component) = COMPONENTS.iter().find(|component| component.folder == folder) else { continue };
            let previous = ours.insert(component.rename(name, levels), shape);
            assert!(previous.is_none(), "{folder}/{name} has the name of another tensor");
        }
        // The list of the single file is of what is loaded: sound is not encoded, nor made of its spectrum.
        let unused = |name: &str| name.starts_with("audio_vae.encoder.") || name.ends_with("stft_fn.inverse_basis");
        ours.retain(|name, _| !unused(name));
        let mut single = tensors(official);
        single.retain(|name, _| !name.starts_with("language_model."));
        assert!(single.len() > 3000);
        for (name, shape) in &single {
            assert_eq!(ours.get(name), Some(shape), "{name}");
        }
        for name in ours.keys() {
            assert!(single.contains_key(name), "{name} is not in the single file");
        }
    }
}

#[test]
fn the_folders_configurations_mean_what_the_single_files_does() {
    for Generation { folders, single, .. } in generations() {
        let ours = configuration(&folders).unwrap();
        let (a, b) = (Section::root(&ours), Section::root(&single));
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
fn generations_are_told_apart() {
    let versions = generations().map(|g| config::version(&component(&g.folders, "transformer")).unwrap());
    assert_eq!(versions, ["2.0", "2.3"]);
}

/// Every key that a class knows has a rule, and no rule is for a key that it does not know.
#[test]
fn every_key_has_a_rule() {
    let with = |rules: rules::Rules, prefix: &str| -> BTreeSet<String> {
        rules.iter().map(|(key, _)| format!("{prefix}{key}")).collect()
    };
    let vocoder = with(rules::VOCODER, "");
    let extension = with(rules::VOCODER, "bwe_").into_iter().chain(with(rules::BANDWIDTH_EXTENSION, ""));
    let extended = vocoder.iter().cloned().chain(extension).collect();
    let plain = vocoder.iter().cloned().chain(["output_sampling_rate".to_string()]).collect();
    for (class, known) in CLASSES.into_iter().zip([
        with(rules::TRANSFORMER, ""),
        with(rules::CONNECTORS, ""),
        with(rules::VAE, ""),
        with(rules::AUDIO_VAE, ""),
        plain,
        extended,
        with(rules::LATENT_UPSAMPLER, ""),
    ]) {
        let keys: BTreeSet<String> = config::defaults(class).as_object().unwrap().keys().cloned().collect();
        assert_eq!(known, keys, "{class}");
    }
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (folder, key, value, expected) in [
        ("transformer", "patch_size", json("2"), "patch_size is 2, but only 1"),
        ("transformer", "audio_gated_attn", json("true"), "audio_gated_attn is true, but only false, as gated_attn,"),
        ("transformer", "ff_bias", json("false"), "ff_bias is false, but only true"),
        ("transformer", "audio_sampling_rate", json("8000"), "audio_sampling_rate is 8000, but only 16000"),
        ("transformer", "_class_name", json("\"FluxTransformer\""), "_class_name is FluxTransformer"),
        ("connectors", "rope_type", json("\"interleaved\""), "rope_type is \"interleaved\", but only \"split\""),
        ("connectors", "per_modality_projections", json("true"), "proj_bias is false, but only true"),
        ("connectors", "video_connector_num_learnable_registers", json("null"), "num_learnable_registers"),
        ("vae", "downsample_type", json("[\"spatial\"]"), "downsample_type is a list of 1, but only one of 4"),
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
        let result = match Component::new(&folders[folder], &CLASSES) {
            Ok(_) => configuration(&folders),
            Err(error) => Err(error),
        };
        match (result, expected) {
            (Ok(_), "") => {}
            (Ok(_), _) => panic!("{folder}.{key} is let pass"),
            (Err(error), _) => assert!(error.to_string().contains(expected), "{key}: {error}"),
        }
    }
}

#[test]
fn the_upsamplers_kind_is_read_or_seen() {
    let whole = |given: &str, seen| config::latent_upsampler(&json(given), seen).unwrap();
    let class = r#"{"_class_name": "LTX2LatentUpsamplerModel""#;
    assert_eq!(whole(&format!("{class}}}"), false)["rational_resampler"], false);
    assert_eq!(whole(&format!("{class}}}"), true)["rational_resampler"], true);
    let said = whole(&format!("{class}, \"use_rational_resampler\": true, \"rational_spatial_scale\": 1.5}}"), false);
    assert_eq!((said["rational_resampler"].clone(), said["spatial_scale"].clone()), (json("true"), json("1.5")));
    assert!(UpsamplerConfig::new(&Section::root(&whole(&format!("{class}}}"), false))).is_ok());
}

#[test]
fn numbers_beyond_measure_are_nobodys() {
    let vae = COMPONENTS.iter().find(|component| component.folder == "vae").unwrap();
    for number in ["9223372036854775808", "18446744073709551615", "99999"] {
        let name = format!("encoder.down_blocks.{number}.downsamplers.0.conv.weight");
        assert_eq!(vae.rename(&name, 4), format!("vae.{name}"));
    }
    let mut folders = generations()[1].folders.clone();
    for (key, value) in [("num_attention_heads", 1_u64 << 40), ("attention_head_dim", 1 << 40)] {
        folders["transformer"][key] = value.into();
    }
    let error = configuration(&folders).unwrap_err().to_string();
    assert!(error.contains("num_attention_heads is 1099511627776, but only a number from 1 to"), "{error}");
}
