//! GGUF files, compared with their dequantized values in safetensors files. Dequantization itself is tested in
//! ltx2-models.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use ltx2_devtools::PublishedModel;
use ltx2_models::checkpoint::read_metadata;
use ltx2_pipeline::{Inspection, ModelChoice, ModelSet};

use super::{copy, demo, largest_error, open_error, relative_error, run};

const LIMIT: f64 = 1e-4;
const GGUF: &str = "ltx-2-19b-dev-Q4_K_M.gguf";
const MODEL: &str = "model.diffusion_model.";
const BESIDE: [&str; 3] = ["gemma/tokenizer.json", "spatial_upscaler.safetensors", "distilled_lora.safetensors"];

/// Returns the type of tensor number `i`: matrices use the block types in turn if their rows are divisible; converters
/// do not quantize vectors.
fn kind(i: usize, tensor: &Tensor) -> GgmlDType {
    const BY_256: [GgmlDType; 3] = [GgmlDType::Q4K, GgmlDType::Q5K, GgmlDType::Q6K];
    const BY_32: [GgmlDType; 2] = [GgmlDType::Q4_0, GgmlDType::Q8_0];
    match tensor.dims() {
        [_, row] if row.is_multiple_of(256) => BY_256[i % 3],
        [_, row] if row.is_multiple_of(32) => BY_32[i % 2],
        [_, _] => GgmlDType::F16,
        _ => GgmlDType::F32,
    }
}

/// Writes `tensors` quantized and returns their dequantized values.
fn write(tensors: &BTreeMap<String, Tensor>, metadata: &[(&str, Value)], path: &Path) -> HashMap<String, Tensor> {
    let quantize = |(i, (name, tensor)): (usize, (&String, &Tensor))| {
        (name.clone(), QTensor::quantize(tensor, kind(i, tensor)).unwrap())
    };
    let quantized: Vec<(String, QTensor)> = tensors.iter().enumerate().map(quantize).collect();
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let views: Vec<(&str, &QTensor)> = quantized.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    gguf_file::write(&mut File::create(path).unwrap(), &metadata, &views).unwrap();
    quantized.into_iter().map(|(name, tensor)| (name, tensor.dequantize(&Device::Cpu).unwrap())).collect()
}

fn load(path: &Path) -> HashMap<String, Tensor> {
    let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    tensors.into_iter().map(|(name, tensor)| (name, tensor.to_dtype(DType::F32).unwrap())).collect()
}

/// Writes a safetensors file with the metadata of `like` and other tensors.
fn save(tensors: &HashMap<String, Tensor>, like: &Path, path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    safetensors::serialize_to_file(tensors, Some(read_metadata(like).unwrap()), path).unwrap();
}

/// Writes the transformer of `from` as `gguf`, with tensor names below `prefix`, and the whole checkpoint with the
/// dequantized transformer as `dense`.
fn transformer(from: &Path, prefix: &str, gguf: &Path, dense: &Path) {
    let file = from.join("ltx.safetensors");
    let mut all = load(&file);
    let named = all.iter().filter(|(name, _)| name.starts_with(MODEL) && !name.contains("embeddings_connector"));
    let named = named.map(|(name, tensor)| (name.replacen(MODEL, prefix, 1), tensor.clone())).collect();
    let architecture = ("general.architecture", Value::String("ltxv".into()));
    let dequantized = write(&named, &[architecture], gguf).into_iter();
    all.extend(dequantized.map(|(name, tensor)| (format!("{MODEL}{}", name.replacen(prefix, "", 1)), tensor)));
    save(&all, &file, dense);
}

/// Writes the text encoder of `from` as `gguf` with llama.cpp's names, and dequantized as `dense`.
fn text_encoder(from: &Path, gguf: &Path, dense: &Path) {
    let file = from.join("gemma/model.safetensors");
    let mut all = load(&file);
    let theirs = llama_names();
    let added = |name: &str| if name.ends_with("norm.weight") { 1.0 } else { 0.0 };
    let named = all.iter().filter_map(|(name, tensor)| Some((theirs(name)?, (tensor + added(name)).unwrap())));
    std::fs::create_dir_all(gguf.parent().unwrap()).unwrap();
    let dequantized = write(&named.collect(), &gemma_metadata(), gguf);
    for (name, tensor) in &mut all {
        if let Some(theirs) = theirs(name) {
            *tensor = (&dequantized[&theirs] - added(name)).unwrap();
        }
    }
    save(&all, &file, dense);
}

/// Returns the mapping from names on Hugging Face to those of llama.cpp, by the list of the `gguf` package.
fn llama_names() -> impl Fn(&str) -> Option<String> {
    let list = include_str!("../../../ltx2-models/tests/fixtures/gguf/gemma3-12b.names");
    let names: HashMap<String, String> = list
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(ours, theirs)| (ours.into(), theirs.into()))
        .collect();
    move |name| {
        let number = name.split('.').find(|part| part.parse::<usize>().is_ok());
        let Some(number) = number else { return names.get(name).cloned() };
        let first = names.get(&name.replacen(&format!(".{number}."), ".0.", 1))?;
        Some(first.replacen("blk.0.", &format!("blk.{number}."), 1))
    }
}

/// Metadata as llama.cpp's converter writes them for the demo's text encoder.
fn gemma_metadata() -> Vec<(&'static str, Value)> {
    vec![
        ("general.architecture", Value::String("gemma3".into())),
        ("gemma3.block_count", Value::U32(7)),
        ("gemma3.embedding_length", Value::U32(64)),
        ("gemma3.feed_forward_length", Value::U32(128)),
        ("gemma3.attention.head_count", Value::U32(4)),
        ("gemma3.attention.head_count_kv", Value::U32(2)),
        ("gemma3.attention.key_length", Value::U32(16)),
        ("gemma3.attention.value_length", Value::U32(16)),
        ("gemma3.attention.layer_norm_rms_epsilon", Value::F32(1e-6)),
        ("gemma3.attention.sliding_window", Value::U32(64)),
        ("gemma3.rope.freq_base", Value::F32(1e6)),
        ("gemma3.rope.scaling.type", Value::String("linear".into())),
        ("gemma3.rope.scaling.factor", Value::F32(8.0)),
        ("tokenizer.ggml.tokens", Value::Array(vec![Value::String("<pad>".into()); 957])),
    ]
}

/// Writes the demo model, a copy with both networks in GGUF, and a copy with both dequantized.
fn sets(base: PublishedModel, prefix: &str) -> [tempfile::TempDir; 3] {
    let original = demo(base);
    let from = original.path();
    let [quantized, dense] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (q, d) = (quantized.path(), dense.path());
    transformer(from, prefix, &q.join(GGUF), &d.join("ltx.safetensors"));
    text_encoder(from, &q.join("gemma/gemma-3-12b-it-Q4_K_M.gguf"), &d.join("gemma/model.safetensors"));
    copy(from, q, &["ltx.safetensors"]);
    copy(from, d, &["gemma/config.json"]);
    [q, d].into_iter().for_each(|to| copy(from, to, &BESIDE));
    [original, quantized, dense]
}

#[test]
fn quantized_weights_give_the_results_of_dequantized_ones() {
    let [original, quantized, dense] = sets(PublishedModel::Ltx2_19b, "");
    let (ours, expected) = (run(quantized.path(), "text"), run(dense.path(), "text"));
    let error = largest_error(&expected, &ours);
    assert!(error <= LIMIT, "{error:.1e}");
    // The run used the quantized weights.
    let exact = run(original.path(), "text");
    let latents: Vec<&String> = exact.keys().filter(|name| name.starts_with("latent")).collect();
    assert!(!latents.is_empty(), "{:?}", exact.keys());
    for name in latents {
        let error = relative_error(&exact[name], &ours[name]);
        assert!(error > 10.0 * LIMIT, "{name}: {error:.1e}");
    }
}

/// LTX-2.3, prefixed names, and a LoRA on quantized weights.
#[test]
fn loras_are_merged_into_dequantized_weights() {
    let [_, quantized, dense] = sets(PublishedModel::Ltx23_22b, MODEL);
    let error = largest_error(&run(dense.path(), "v23_lora"), &run(quantized.path(), "v23_lora"));
    assert!(error <= LIMIT, "{error:.1e}");
}

#[test]
fn ambiguous_and_damaged_files_are_named() {
    let [_, quantized, dense] = sets(PublishedModel::Ltx2_19b, "");
    let to = quantized.path();
    std::fs::copy(to.join(GGUF), to.join("ltx-2-19b-dev-Q8_0.gguf")).unwrap();
    // Of files of one size, the last name is used.
    assert!(ModelSet::open(to).unwrap().name().ends_with("ltx-2-19b-dev-Q8_0.gguf"));
    std::fs::remove_file(to.join("ltx-2-19b-dev-Q8_0.gguf")).unwrap();

    // The vision tower of a text encoder is ignored; of two text encoders, the larger one is used.
    write(
        &BTreeMap::new(),
        &[("general.architecture", Value::String("clip".into()))],
        &to.join("gemma/mmproj-F16.gguf"),
    );
    assert!(ModelSet::open(to).is_ok());
    copy(dense.path(), to, &["gemma/config.json", "gemma/model.safetensors"]);
    let notes = Inspection::of(to, &ModelChoice::default()).unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("gemma is used, not") && note.contains("Q4_K_M.gguf")), "{notes:?}");
    for name in ["gemma/config.json", "gemma/model.safetensors"] {
        std::fs::remove_file(to.join(name)).unwrap();
    }

    std::fs::write(to.join(GGUF), "GGUF").unwrap();
    let choice = ModelChoice { checkpoint: vec![GGUF.into()], ..ModelChoice::default() };
    assert!(ModelSet::open_with(to, &choice).map(drop).unwrap_err().to_string().contains("is not a usable GGUF file"));
    std::fs::remove_file(to.join("ltx.safetensors")).unwrap();
    std::fs::remove_file(to.join(GGUF)).unwrap();
    assert!(open_error(to).contains("it lacks an LTX-2 checkpoint"));
}
