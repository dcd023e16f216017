//! Checkpoints whose networks are in separate files, and other layouts of ComfyUI: each gives the video of the single file.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use ltx2_devtools::PublishedModel;
use ltx2_models::checkpoint::read_metadata;
use serde_json::{Value, json};

use super::{demo, largest_error, open_error, run};

const MODEL: &str = "model.diffusion_model.";
const CONNECTOR: &str = "embeddings_connector.";

pub(super) type Tensors = HashMap<String, Tensor>;

pub(super) fn load(path: &Path) -> Tensors {
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

/// Writes a file with the sections of the architecture of `like` in its metadata.
pub(super) fn save(tensors: &Tensors, like: &Path, sections: &[&str], path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut metadata = read_metadata(like).unwrap();
    let mut config: Value = serde_json::from_str(&metadata["config"]).unwrap();
    config.as_object_mut().unwrap().retain(|key, _| sections.contains(&key.as_str()));
    metadata.insert("config".into(), config.to_string());
    if sections.is_empty() {
        metadata.clear();
    }
    safetensors::serialize_to_file(tensors, Some(metadata), path).unwrap();
}

/// Returns the tensors whose names satisfy `wanted`, under the names that `rename` returns.
pub(super) fn select(all: &Tensors, wanted: impl Fn(&str) -> bool, rename: impl Fn(&str) -> String) -> Tensors {
    let selected = all.iter().filter(|(name, _)| wanted(name));
    selected.map(|(name, tensor)| (rename(name), tensor.clone())).collect()
}

pub(super) fn is_transformer(name: &str) -> bool {
    name.starts_with(MODEL) && !name.contains(CONNECTOR)
}

/// Writes the networks of `from` to ComfyUI's folders, without the prefixes that such files omit.
pub(super) fn split(from: &Path, to: &Path, version: &str) {
    let file = from.join("ltx.safetensors");
    let all = load(&file);
    let as_is = |name: &str| name.to_string();
    let without = |prefix: &'static str| move |name: &str| name.strip_prefix(prefix).unwrap_or(name).to_string();
    let path = |name: &str| to.join(name.replace("VERSION", version));
    save(
        &select(&all, is_transformer, without(MODEL)),
        &file,
        &["transformer"],
        &path("diffusion_models/ltx-VERSION-dev_transformer_only_bf16.safetensors"),
    );
    let is_text = |name: &str| name.contains(CONNECTOR) || name.starts_with("text_embedding_projection.");
    save(
        &select(&all, is_text, as_is),
        &file,
        &[],
        &path("text_encoders/ltx-VERSION_embeddings_connectors.safetensors"),
    );
    let vae = select(&all, |name| name.starts_with("vae."), without("vae."));
    save(&vae, &file, &["vae"], &path("vae/LTXVERSION_video_vae.safetensors"));
    let audio = select(&all, |name| name.starts_with("audio_vae.") || name.starts_with("vocoder."), as_is);
    save(&audio, &file, &["audio_vae", "vocoder"], &path("vae/LTXVERSION_audio_vae.safetensors"));
    std::fs::create_dir_all(to.join("latent_upscale_models")).unwrap();
    std::fs::create_dir_all(to.join("loras")).unwrap();
    for (source, target) in [
        ("spatial_upscaler.safetensors", "latent_upscale_models/ltx-2-spatial-upscaler-x2-1.0.safetensors"),
        ("distilled_lora.safetensors", "loras/LTX-2-19b-Distilled-LoRA-384.safetensors"),
        ("gemma/tokenizer.json", "text_encoders/tokenizer.json"),
    ] {
        std::fs::copy(from.join(source), to.join(target)).unwrap();
    }
}

/// Writes the text model alone in one file without `config.json`, with the names of ComfyUI's.
pub(super) fn single_gemma(from: &Path, to: &Path) {
    let all = load(&from.join("gemma/model.safetensors"));
    let rename = |name: &str| name.replacen("language_model.model.", "model.", 1);
    let mut text = select(&all, |name| name.starts_with("language_model.model."), rename);
    text.insert("spiece_model".into(), Tensor::zeros(3, candle_core::DType::U8, &Device::Cpu).unwrap());
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    safetensors::serialize_to_file(&text, None, to).unwrap();
}

fn compare_split(base: PublishedModel, version: &str, case: &str) {
    let (single, parts) = (demo(base), tempfile::tempdir().unwrap());
    split(single.path(), parts.path(), version);
    single_gemma(single.path(), &parts.path().join("text_encoders/gemma_3_12B_it.safetensors"));
    assert_eq!(largest_error(&run(single.path(), case), &run(parts.path(), case)), 0.0);
}

#[test]
fn split_files_in_the_folders_of_comfyui_give_the_video_of_the_single_file() {
    compare_split(PublishedModel::Ltx2_19b, "2", "two_stage");
}

#[test]
fn split_files_of_ltx_2_3_give_the_video_of_the_single_file() {
    compare_split(PublishedModel::Ltx23_22b, "2.3", "v23_two_stage");
}

#[test]
fn a_missing_network_is_named_with_the_files_seen() {
    let (single, parts) = (demo(PublishedModel::Ltx2_19b), tempfile::tempdir().unwrap());
    split(single.path(), parts.path(), "2");
    std::fs::remove_file(parts.path().join("vae/LTX2_audio_vae.safetensors")).unwrap();
    let error = open_error(parts.path());
    for expected in [
        "it lacks the audio VAE, the vocoder of the checkpoint",
        "a Gemma 3 text encoder",
        "vae/LTX2_video_vae.safetensors: a part of an LTX checkpoint 2.0.0: video VAE",
        "loras/LTX-2-19b-Distilled-LoRA-384.safetensors: a LoRA",
    ] {
        assert!(error.contains(expected), "{error}");
    }
}

/// A network without `config` anywhere is refused, because the demo model is no published architecture.
#[test]
fn an_unknown_architecture_is_refused_by_file_and_network() {
    let (single, parts) = (demo(PublishedModel::Ltx2_19b), tempfile::tempdir().unwrap());
    let to = parts.path();
    split(single.path(), to, "2");
    single_gemma(single.path(), &to.join("text_encoders/gemma_3_12B_it.safetensors"));
    let vae = to.join("vae/LTX2_video_vae.safetensors");
    save(&load(&vae), &single.path().join("ltx.safetensors"), &[], &vae);
    let error = open_error(to);
    assert!(error.contains("LTX2_video_vae.safetensors has no `config` for the video VAE"), "{error}");
}

#[test]
fn prefixes_of_wrappers_are_understood_in_a_complete_file() {
    let single = demo(PublishedModel::Ltx2_19b);
    let expected = run(single.path(), "text");
    let file = single.path().join("ltx.safetensors");
    let all = load(&file);
    for prefix in ["diffusion_model.", "model.diffusion_model._orig_mod.", ""] {
        let rename = |name: &str| match name.strip_prefix(MODEL) {
            Some(inner) => format!("{prefix}{inner}"),
            None => name.into(),
        };
        save(&select(&all, |_| true, rename), &file, &["transformer", "vae", "audio_vae", "vocoder"], &file);
        assert_eq!(largest_error(&expected, &run(single.path(), "text")), 0.0, "{prefix}");
        std::fs::remove_file(&file).unwrap();
        save(
            &all,
            &demo(PublishedModel::Ltx2_19b).path().join("ltx.safetensors"),
            &["transformer", "vae", "audio_vae", "vocoder"],
            &file,
        );
    }
}

#[test]
fn a_text_only_gemma_gives_the_video_of_the_multimodal_one() {
    let single = demo(PublishedModel::Ltx2_19b);
    let expected = run(single.path(), "text");
    let gemma = single.path().join("gemma");
    let whole: Value = serde_json::from_str(&std::fs::read_to_string(gemma.join("config.json")).unwrap()).unwrap();
    let mut text = whole["text_config"].clone();
    text["model_type"] = json!("gemma3_text");
    std::fs::write(gemma.join("config.json"), text.to_string()).unwrap();
    single_gemma(single.path(), &gemma.join("text.safetensors"));
    std::fs::rename(gemma.join("text.safetensors"), gemma.join("model.safetensors")).unwrap();
    assert_eq!(largest_error(&expected, &run(single.path(), "text")), 0.0);
    // Without config.json, the values come from the shapes.
    std::fs::remove_file(gemma.join("config.json")).unwrap();
    assert_eq!(largest_error(&expected, &run(single.path(), "text")), 0.0);
}
