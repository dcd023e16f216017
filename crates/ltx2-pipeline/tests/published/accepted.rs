//! Rows of the README's table of model files that the other tests leave out.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use ltx2_devtools::{PublishedModel, demo_model};
use ltx2_models::checkpoint::read_metadata;
use ltx2_pipeline::{Inspection, ModelChoice, ModelSet};

use super::split::{Tensors, is_transformer, load, save, select, single_gemma, split};
use super::{demo, largest_error, open_error, run};

const SECTIONS: [&str; 4] = ["transformer", "vae", "audio_vae", "vocoder"];

/// Returns what the file `name` is, and what it is used as.
fn inspect(folder: &Path, name: &str) -> (String, Vec<String>) {
    let files = Inspection::of(folder, &ModelChoice::default()).unwrap().files;
    let file = files.into_iter().find(|file| file.path.ends_with(name)).unwrap();
    (file.content, file.used_as)
}

/// Writes `tensors` in a GGUF file as they are, with the architecture of the transformer of `like`.
fn write_gguf(tensors: &Tensors, like: &Path, path: &Path) {
    let config: serde_json::Value = serde_json::from_str(&read_metadata(like).unwrap()["config"]).unwrap();
    let config = serde_json::json!({"transformer": config["transformer"]}).to_string();
    let metadata = [("general.architecture", "ltxv"), ("config", &config)];
    let metadata = metadata.map(|(key, value)| (key, Value::String(value.into())));
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let exact = |(name, tensor)| (name, QTensor::quantize(tensor, GgmlDType::F32).unwrap());
    let floats: Tensors =
        tensors.iter().map(|(name, x)| (name.clone(), x.to_dtype(candle_core::DType::F32).unwrap())).collect();
    let exact: BTreeMap<&String, QTensor> = floats.iter().map(exact).collect();
    let exact: Vec<(&str, &QTensor)> = exact.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    gguf_file::write(&mut File::create(path).unwrap(), &metadata, &exact).unwrap();
}

/// As published for stable-diffusion.cpp, with the vocoder and the text projection in files of their own as well.
#[test]
fn a_gguf_transformer_beside_split_files_gives_the_video_of_the_single_file() {
    let (single, parts) = (demo(PublishedModel::Ltx23_22b), tempfile::tempdir().unwrap());
    let (file, to) = (single.path().join("ltx.safetensors"), parts.path());
    split(single.path(), to, "2.3");
    single_gemma(single.path(), &to.join("text_encoders/gemma_3_12B_it.safetensors"));
    let transformer = to.join("diffusion_models/ltx-2.3-dev_transformer_only_bf16.safetensors");
    write_gguf(&load(&transformer), &file, &to.join("diffusion_models/ltx-2.3-22b-dev-F32.gguf"));
    fs::remove_file(transformer).unwrap();
    for (whole, part, prefix, sections) in [
        ("vae/LTX2.3_audio_vae.safetensors", "vae/LTX2.3_vocoder.safetensors", "vocoder.", &["vocoder"][..]),
        (
            "text_encoders/ltx-2.3_embeddings_connectors.safetensors",
            "text_encoders/ltx-2.3_text_projection.safetensors",
            "text_embedding_projection.",
            &[],
        ),
    ] {
        let all = load(&to.join(whole));
        let keep = |is_part: bool| select(&all, |name| name.starts_with(prefix) == is_part, str::to_owned);
        save(&keep(true), &file, sections, &to.join(part));
        let rest = if sections.is_empty() { &[][..] } else { &["audio_vae"] };
        save(&keep(false), &file, rest, &to.join(whole));
    }
    assert_eq!(largest_error(&run(single.path(), "v23_two_stage"), &run(to, "v23_two_stage")), 0.0);
    assert!(ModelSet::open(to).unwrap().name().ends_with("ltx-2.3-22b-dev-F32.gguf"));
}

#[test]
fn a_transformer_file_replaces_that_of_a_complete_checkpoint() {
    let (models, expected) = (demo(PublishedModel::Ltx2_19b), demo(PublishedModel::Ltx2_19b));
    let other = tempfile::tempdir().unwrap();
    demo_model::write(other.path(), PublishedModel::Ltx2_19b, 8).unwrap();
    let file = models.path().join("ltx.safetensors");
    let before = run(models.path(), "text");
    let transformer = select(&load(&other.path().join("ltx.safetensors")), is_transformer, str::to_owned);
    let mut all = load(&file);
    all.extend(transformer.clone());
    save(&all, &file, &SECTIONS, &expected.path().join("ltx.safetensors"));
    save(&transformer, &file, &["transformer"], &models.path().join("ltx-2-19b-dev_transformer_only.safetensors"));
    let ours = run(models.path(), "text");
    assert_eq!(largest_error(&run(expected.path(), "text"), &ours), 0.0);
    assert!(largest_error(&before, &ours) > 0.0);
}

#[test]
fn a_transformer_without_audio_layers_is_another_model() {
    let models = demo(PublishedModel::Ltx2_19b);
    let file = models.path().join("ltx.safetensors");
    let video = select(&load(&file), |name| is_transformer(name) && !name.contains("audio"), str::to_owned);
    let name = "ltxv-13b.safetensors";
    save(&video, &file, &["transformer"], &models.path().join(name));
    let expected = "a transformer without the audio layers of LTX-2";
    assert_eq!(inspect(models.path(), name), (expected.into(), Vec::new()));
    fs::remove_file(file).unwrap();
    let error = open_error(models.path());
    assert!(error.contains(&format!("{name}: {expected}")), "{error}");
}

#[test]
fn the_tokenizer_may_be_in_a_folder_beside_the_text_encoder_or_in_that_of_the_models() {
    let models = demo(PublishedModel::Ltx2_19b);
    let mut tokenizer = models.path().join("gemma/tokenizer.json");
    for place in ["tokenizer/tokenizer.json", "tokenizer.json"] {
        let target = models.path().join(place);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::rename(&tokenizer, &target).unwrap();
        ModelSet::open(models.path()).unwrap();
        tokenizer = target;
    }
    fs::rename(tokenizer, models.path().join("gemma/tokenizer.model")).unwrap();
    let error = open_error(models.path());
    assert!(error.contains("it lacks tokenizer.json beside the text encoder"), "{error}");
}

#[test]
fn spatial_upscalers_of_factor_2_come_first_and_temporal_ones_are_not_used() {
    let models = demo(PublishedModel::Ltx2_19b);
    let twofold = models.path().join("spatial_upscaler.safetensors");
    let write = |name: &str, changes: &[(&str, serde_json::Value)]| {
        let mut metadata = read_metadata(&twofold).unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&metadata["config"]).unwrap();
        for (key, value) in changes {
            config[*key] = value.clone();
        }
        metadata.insert("config".into(), config.to_string());
        safetensors::serialize_to_file(&load(&twofold), Some(metadata), &models.path().join(name)).unwrap();
    };
    let (larger, temporal) = ("x1.5.safetensors", "temporal.safetensors");
    write(larger, &[("rational_resampler", true.into()), ("spatial_scale", 1.5.into())]);
    write(temporal, &[("spatial_upsample", false.into()), ("temporal_upsample", true.into())]);
    let used_as = |name: &str| inspect(models.path(), name).1;
    assert_eq!(used_as("spatial_upscaler.safetensors"), ["spatial upscaler"]);
    assert_eq!((used_as(larger), used_as(temporal)), (vec![], vec![]));
    fs::remove_file(&twofold).unwrap();
    assert_eq!((used_as(larger), used_as(temporal)), (vec!["spatial upscaler".to_owned()], vec![]));
    fs::remove_file(models.path().join(larger)).unwrap();
    assert_eq!(ModelSet::open(models.path()).unwrap().capabilities().upscaler, None);
}
