//! diffusers folders, with the names and configurations that the classes of diffusers gave the demo model
//! (`scripts/make_diffusers_model.py`).

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::{Value, json};

use super::{copy, demo, largest_error, open_error, run};
use ltx2_devtools::PublishedModel;
use ltx2_pipeline::ModelSet;

fn layout(base: PublishedModel) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/diffusers").join(base.name());
    serde_json::from_str(&std::fs::read_to_string(path.with_added_extension("json")).unwrap()).unwrap()
}

/// Writes the single files of `from` as diffusers folders.
fn write(base: PublishedModel, from: &Path, to: &Path) {
    let layout = layout(base);
    let single = candle_core::safetensors::load(from.join("ltx.safetensors"), &Device::Cpu).unwrap();
    let mut folders: HashMap<&str, HashMap<String, Tensor>> = HashMap::new();
    for (theirs, ours) in layout["names"].as_object().unwrap() {
        let (folder, name) = theirs.split_once('/').unwrap();
        folders.entry(folder).or_default().insert(name.into(), single[ours.as_str().unwrap()].clone());
    }
    for (folder, config) in layout["configs"].as_object().unwrap() {
        std::fs::create_dir_all(to.join(folder)).unwrap();
        std::fs::write(to.join(folder).join("config.json"), config.to_string()).unwrap();
    }
    for (folder, tensors) in folders {
        match folder {
            "transformer" => write_shards(&to.join(folder), tensors),
            _ => {
                let file = to.join(folder).join("diffusion_pytorch_model.safetensors");
                candle_core::safetensors::save(&tensors, file).unwrap();
            }
        }
    }
    let upsampler = to.join("latent_upsampler/diffusion_pytorch_model.safetensors");
    std::fs::copy(from.join("spatial_upscaler.safetensors"), upsampler).unwrap();
    for (source, target) in [
        ("gemma/config.json", "text_encoder/config.json"),
        ("gemma/model.safetensors", "text_encoder/model.safetensors"),
        ("gemma/tokenizer.json", "tokenizer/tokenizer.json"),
    ] {
        std::fs::create_dir_all(to.join(target).parent().unwrap()).unwrap();
        std::fs::copy(from.join(source), to.join(target)).unwrap();
    }
    std::fs::write(to.join("model_index.json"), json!({"_class_name": "LTX2Pipeline"}).to_string()).unwrap();
    copy(from, to, &["distilled_lora.safetensors"]);
}

/// Writes two shards with an index, and a file that the index does not name.
fn write_shards(folder: &Path, tensors: HashMap<String, Tensor>) {
    let mut names: Vec<&String> = tensors.keys().collect();
    names.sort();
    let mut map = serde_json::Map::new();
    for (i, part) in names.chunks(names.len().div_ceil(2)).enumerate() {
        let file = format!("diffusion_pytorch_model-0000{}-of-00002.safetensors", i + 1);
        let part: HashMap<String, Tensor> =
            part.iter().map(|name| (name.to_string(), tensors[*name].clone())).collect();
        map.extend(part.keys().map(|name| (name.clone(), json!(file))));
        candle_core::safetensors::save(&part, folder.join(file)).unwrap();
    }
    candle_core::safetensors::save(&tensors, folder.join("diffusion_pytorch_model.fp16.safetensors")).unwrap();
    let index = folder.join("diffusion_pytorch_model.safetensors.index.json");
    std::fs::write(index, json!({"weight_map": map}).to_string()).unwrap();
}

fn compare(base: PublishedModel, case: &str) {
    let (single, folders) = (demo(base), tempfile::tempdir().unwrap());
    write(base, single.path(), folders.path());
    assert_eq!(largest_error(&run(single.path(), case), &run(folders.path(), case)), 0.0);
}

#[test]
fn diffusers_folders_give_the_same_video_as_single_files() {
    compare(PublishedModel::Ltx2_19b, "two_stage");
}

#[test]
fn diffusers_folders_of_ltx_2_3_give_the_same_video_as_single_files() {
    compare(PublishedModel::Ltx23_22b, "v23_two_stage");
}

#[test]
fn missing_and_ambiguous_files_are_named() {
    let base = PublishedModel::Ltx2_19b;
    let (single, folders) = (demo(base), tempfile::tempdir().unwrap());
    let (from, to) = (single.path(), folders.path());
    let rewrite = || write(base, from, to);
    let refused = |expected: &[&str]| {
        let error = open_error(to);
        assert!(expected.iter().all(|expected| error.contains(expected)), "{error}");
    };
    rewrite();
    // A single file comes before the folders.
    copy(from, to, &["ltx.safetensors"]);
    assert!(ModelSet::open(to).unwrap().name().ends_with("ltx.safetensors"));
    std::fs::remove_file(to.join("ltx.safetensors")).unwrap();

    let mut vae = layout(base)["configs"]["vae"].clone();
    vae["upsample_type"] = json!(["sideways"]);
    std::fs::write(to.join("vae/config.json"), vae.to_string()).unwrap();
    refused(&["vae/config.json", "upsample_type is a list of length 1, but only length 3"]);
    std::fs::remove_file(to.join("vae/config.json")).unwrap();
    refused(&["vae/config.json"]);

    rewrite();
    std::fs::remove_file(to.join("transformer/diffusion_pytorch_model-00002-of-00002.safetensors")).unwrap();
    refused(&["diffusion_pytorch_model-00002-of-00002.safetensors"]);
    rewrite();
    std::fs::remove_file(to.join("transformer/diffusion_pytorch_model.safetensors.index.json")).unwrap();
    refused(&["is also in", "transformer/diffusion_pytorch_model"]);
    rewrite();
    std::fs::remove_file(to.join("vocoder/diffusion_pytorch_model.safetensors")).unwrap();
    refused(&["vocoder", "it has no *.safetensors"]);
}
