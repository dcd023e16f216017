//! Comparison of runs with traces of the official code (see `scripts/make_fixtures.py`), tensor by tensor.

mod common;

use std::collections::{BTreeMap, HashMap};
use std::f64::consts::SQRT_2;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use ltx2_devtools::trace::{ReferenceRequest, trace};
use ltx2_devtools::{DecodedImages, PublishedModel, demo_model};
use ltx2_models::Checkpoint;
use ltx2_models::checkpoint::{read_json, read_metadata};
use ltx2_models::text_encoder::Tokenizer;
use ltx2_pipeline::{Engine, EngineSettings, ModelSet, Precision};
use ltx2_types::{RgbImage, Task};

use common::source::{SourceInputs, first_frames, source_info};
use common::test_device;

/// Maximum relative errors.
struct Limits {
    contexts: f64,
    others: f64,
}

/// About ten times the effect of rounding.
const F32: Limits = Limits { contexts: 1e-5, others: 5e-4 };

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Returns the small model of a fixture, whose metadata has the seed and the configuration. A demo model is written to
/// `folder`; the weights of other models are generated in memory.
fn models(fixture: &Path, folder: &Path) -> ModelSet {
    let metadata = read_metadata(fixture).unwrap();
    let seed = metadata["weights_seed"].parse().unwrap();
    if metadata["weights"] == "demo" {
        let base = metadata.get("weights_base").map_or(PublishedModel::default(), |base| base.parse().unwrap());
        demo_model::write(folder, base, seed).unwrap();
        write_float32_lora(folder);
        return ModelSet::open(folder).unwrap();
    }
    let gemma = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo/gemma");
    let config = serde_json::from_str(&metadata["config"]).unwrap();
    let checkpoint = Checkpoint::synthetic(config, &metadata["model_version"], seed);
    let text_encoder = Checkpoint::synthetic(read_json(&gemma.join("config.json")).unwrap(), "", seed);
    ModelSet::new(checkpoint, text_encoder, Tokenizer::open(&gemma).unwrap()).unwrap()
}

/// Writes `loras/lora_f32.safetensors`: `distilled_lora.safetensors` in float32, times 1.1, which bfloat16 does not represent
/// exactly.
fn write_float32_lora(folder: &Path) {
    let lora = candle_core::safetensors::load(folder.join("distilled_lora.safetensors"), &Device::Cpu).unwrap();
    let scaled = lora.into_iter().map(|(name, value)| (name, (value.to_dtype(DType::F32).unwrap() * 1.1).unwrap()));
    let scaled: HashMap<String, Tensor> = scaled.collect();
    std::fs::create_dir_all(folder.join("loras")).unwrap();
    candle_core::safetensors::save(&scaled, folder.join("loras/lora_f32.safetensors")).unwrap();
}

fn images(fixture: &Path) -> Vec<RgbImage> {
    let request = ReferenceRequest::read(fixture).unwrap();
    let decode = |file: &str| {
        let rgb = image::open(fixtures().join(file)).unwrap().to_rgb8();
        RgbImage { width: rgb.width(), height: rgb.height(), data: rgb.into_raw() }
    };
    request.images().unwrap().iter().map(|image| decode(&image.source.to_string())).collect()
}

fn relative_error(reference: &Tensor, ours: &Tensor) -> f64 {
    let flat = |x: &Tensor| x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let (a, b) = (flat(reference), flat(ours));
    let apart: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum();
    let size: f64 = a.iter().map(|a| a.powi(2)).sum();
    (apart / size.max(1e-24)).sqrt()
}

fn recorded(case: &str) -> BTreeMap<String, Tensor> {
    let fixture = fixtures().join(format!("{case}.safetensors"));
    candle_core::safetensors::load(fixture, &Device::Cpu).unwrap().into_iter().collect()
}

/// Compares a run in float32 with the official one.
fn compare(case: &str) {
    let limit = |name: &str, _: &Tensor| if name.starts_with("context.") { F32.contexts } else { F32.others };
    compare_in(case, Precision::F32, limit);
}

/// Compares a run in bfloat16 with the official one. The limit is √2 times the distance of the official run from
/// `exact`, the official run in float32 with the same noise: the distance of two independent roundings of that size.
fn compare_bf16(case: &str, exact: &str) {
    let exact = recorded(exact);
    let limit = |name: &str, reference: &Tensor| SQRT_2 * relative_error(reference, &exact[name]);
    compare_in(case, Precision::Bf16, limit);
}

/// Compares a run in `precision` with the official one; `limit` returns the largest allowed error of a tensor, by its
/// name and its official value.
fn compare_in(case: &str, precision: Precision, limit: impl Fn(&str, &Tensor) -> f64) {
    let fixture = fixtures().join(format!("{case}.safetensors"));
    let folder = tempfile::tempdir().unwrap();
    let mut engine = Engine::new(models(&fixture, folder.path()), EngineSettings::new(test_device(), precision));
    let task = ReferenceRequest::read(&fixture).unwrap().task().unwrap();
    let source = match &task {
        Task::Extend(_) => Some(first_frames(9)),
        task => task.source().map(|_| source_info()),
    };
    let ours = match source {
        Some(_) => trace(&mut engine, &fixture, &mut SourceInputs(images(&fixture)), source).unwrap(),
        None => trace(&mut engine, &fixture, &mut DecodedImages(images(&fixture)), None).unwrap(),
    };
    let reference = recorded(case);
    assert!(reference.len() >= 7, "{case} has only {} tensors", reference.len());
    let mut failures = Vec::new();
    for (name, reference) in &reference {
        let ours = ours.get(name).unwrap_or_else(|| panic!("{case}: {name} is missing"));
        assert_eq!(ours.dims(), reference.dims(), "{case}: shape of {name}");
        let (error, limit) = (relative_error(reference, ours), limit(name, reference));
        println!("{case} {name}: {error:.1e}, limit {limit:.1e}");
        if error > limit {
            failures.push(format!("{name} {error:.1e}, limit {limit:.1e}"));
        }
    }
    assert_eq!(failures, Vec::<String>::new(), "{case}");
}

/// Full guidance; the trace has every tensor.
#[test]
fn text_to_video() {
    compare("text");
}

/// An image at strength 0.8, non-Latin scripts in the prompts, a fractional frame rate, four heads.
#[test]
fn image_to_video() {
    compare("image");
}

/// Interleaved RoPE with channels that do not rotate, an empty prompt and a prompt of more than 1024 tokens.
#[test]
fn interleaved_rope() {
    compare("interleaved");
}

/// No guidance, an image at strength 1 and a keyframe.
#[test]
fn unguided_with_keyframe() {
    compare("unguided");
}

/// bfloat16, as the official pipelines run on a GPU.
#[test]
fn bfloat16() {
    compare_bf16("bf16", "bf16_in_f32");
}

/// A LoRA of the transformer.
#[test]
fn lora() {
    compare("lora");
}

/// Three LoRAs: one in bfloat16 and, twice, one in float32, whose matrices are rounded before their product.
#[test]
fn several_loras() {
    compare("loras");
}

/// Half size with guidance, then upscaled and refined with the LoRA; an image in both stages.
#[test]
fn two_stage() {
    compare("two_stage");
}

/// Eight and three fixed sigmas without guidance.
#[test]
fn distilled() {
    compare("distilled");
}

/// Decoding in tiles of space and time.
#[test]
fn tiled_decode() {
    compare("tiled");
}

/// Images as appended tokens in both stages.
#[test]
fn keyframes() {
    compare("keyframes");
}

/// Gradient estimation: each velocity is extrapolated from the previous one.
#[test]
fn gradient_estimation() {
    compare("gradient_estimation");
}

/// The second-order sampler with steps short enough for its refinement, and an image.
#[test]
fn hq() {
    compare("hq");
}

/// LTX-2.3: gated attention, modulated text cross-attention, features per modality, vocoder with bandwidth extension.
#[test]
fn v23_text_to_video() {
    compare("v23_text");
}

/// LTX-2.3 with four heads, an image, an empty prompt and a prompt of more than 1024 tokens.
#[test]
fn v23_heads() {
    compare("v23_heads");
}

/// LTX-2.3 with a LoRA.
#[test]
fn v23_lora() {
    compare("v23_lora");
}

/// LTX-2.3, distilled, with three LoRAs and an image at strength 0.7 in both stages.
#[test]
fn v23_several_loras_and_image() {
    compare("v23_loras");
}

/// LTX-2.3 at half size with guidance, then upscaled and refined with the LoRA; an image in both stages.
#[test]
fn v23_two_stage() {
    compare("v23_two_stage");
}

/// LTX-2.3 in bfloat16, with the vocoder in float32.
#[test]
fn v23_bfloat16() {
    compare_bf16("v23_bf16", "v23_bf16_in_f32");
}

/// LTX-2.3, distilled, with tiled decoding.
#[test]
fn v23_tiled_decode() {
    compare("v23_tiled");
}

/// LTX-2.3 with images as appended tokens in both stages.
#[test]
fn v23_keyframes() {
    compare("v23_keyframes");
}

/// LTX-2.3 with the second-order sampler in both stages.
#[test]
fn v23_hq() {
    compare("v23_hq");
}

/// Video and audio generated again within a window.
#[test]
fn retake() {
    compare("retake");
    compare("v23_retake");
}

/// One modality kept, as the official code does it.
#[test]
fn retake_of_one_modality() {
    compare("retake_video");
    compare("v23_retake_audio");
}

/// The official retake of the padded video, with a window over the padding.
#[test]
fn extend() {
    compare("extend");
    compare("v23_extend");
}

/// Audio frozen in both stages, with an image.
#[test]
fn audio_to_video() {
    compare("a2v");
    compare("v23_a2v");
}
