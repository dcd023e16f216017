//! LoRAs: names of all trainers, alpha, other methods, and files that do not fit.

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::{DType, Device};
use ltx2_models::lora::LoraStrength;
use ltx2_models::{Checkpoint, CheckpointError};
use ltx2_pipeline::ModelSet;
use ltx2_types::CameraMotion;
use safetensors::Dtype;

use crate::edit::{Contents, Stored, to_e4m3};
use crate::{Demo, lora_input, run};

const CONNECTOR: &str = "diffusion_model.video_embeddings_connector.transformer_1d_blocks.0.attn1.to_q";
const TO_Q: &str = "diffusion_model.transformer_blocks.0.attn1.to_q";
const TO_Q_WEIGHT: &str = "model.diffusion_model.transformer_blocks.0.attn1.to_q.weight";
const PATCHIFY: &str = "model.diffusion_model.patchify_proj.weight";

/// A demo model, its LoRA and its tensors.
struct Fixture {
    demo: Demo,
    models: ModelSet,
    lora: Contents,
    weights: Contents,
    checkpoint: Checkpoint,
}

impl Fixture {
    fn new() -> Self {
        let demo = Demo::new();
        let models = demo.open().unwrap();
        let lora = Contents::read(&demo.path("distilled_lora.safetensors"));
        let path = demo.path("ltx.safetensors");
        let (weights, checkpoint) = (Contents::read(&path), Checkpoint::open(&path).unwrap());
        Self { demo, models, lora, weights, checkpoint }
    }

    fn write(&self, name: &str, lora: &Contents) -> PathBuf {
        let path = self.demo.path(&format!("tried/{name}.safetensors"));
        lora.write(&path);
        path
    }

    /// Returns all tensors of the checkpoint that the LoRA changes, with the LoRA merged.
    fn merged(&self, lora: &Contents) -> Result<BTreeMap<String, Vec<f32>>, CheckpointError> {
        self.merged_file(&self.write("lora", lora))
    }

    fn merged_file(&self, path: &std::path::Path) -> Result<BTreeMap<String, Vec<f32>>, CheckpointError> {
        let lora = self.models.lora(path)?;
        let loras = [LoraStrength { lora: lora.clone(), strength: 1.0 }];
        let mut merged = BTreeMap::new();
        for (name, stored) in &self.weights.tensors {
            if lora.changes_any(&[name]) {
                let read = self.checkpoint.load_with_loras(&loras, DType::F32, &Device::Cpu, |vb| {
                    vb.get(stored.shape.as_slice(), name)?.flatten_all()?.to_vec1()
                })?;
                merged.insert(name.clone(), read);
            }
        }
        Ok(merged)
    }

    fn error(&self, lora: &Contents) -> String {
        self.merged(lora).unwrap_err().to_string()
    }

    /// Returns a pair of rank 2 for a layer.
    fn pair(&self, layer: &str, d_out: usize, d_in: usize) -> Contents {
        let values = |count: usize| (0..count).map(|i| 0.01 * i as f32 - 0.3).collect::<Vec<_>>();
        Contents::default()
            .with(&format!("{layer}.lora_A.weight"), Stored::bf16(&[2, d_in], &values(2 * d_in)))
            .with(&format!("{layer}.lora_B.weight"), Stored::bf16(&[d_out, 2], &values(2 * d_out)))
    }
}

/// Change of a tensor name.
type Rename<'a> = &'a dyn Fn(&str) -> String;

#[test]
fn names_of_all_trainers_have_the_same_effect() {
    let fixture = Fixture::new();
    let expected = fixture.merged(&fixture.lora).unwrap();
    assert_eq!(expected.len() * 2, fixture.lora.tensors.len());
    let bare = |name: &str| name.strip_prefix("diffusion_model.").unwrap().to_string();
    let underscored = |name: &str| {
        let (layer, matrix) = bare(name).rsplit_once(".lora_").map(|(a, b)| (a.to_string(), b.to_string())).unwrap();
        format!("{}.lora_{matrix}", layer.replace('.', "_")).replace("lora_A", "lora_down").replace("lora_B", "lora_up")
    };
    let renames: [(&str, Rename); 11] = [
        ("transformer", &|name| format!("transformer.{}", bare(name))),
        ("model.diffusion_model", &|name| format!("model.{name}")),
        ("base_model.model", &|name| format!("base_model.model.{}", bare(name))),
        ("base_model.model.diffusion_model", &|name| format!("base_model.model.{name}")),
        ("base_model.model.transformer", &|name| format!("base_model.model.transformer.{}", bare(name))),
        ("no prefix", &bare),
        ("_orig_mod", &|name| name.replace("transformer_blocks.0.", "transformer_blocks.0._orig_mod.")),
        ("adapter name", &|name| name.replace(".weight", ".default.weight")),
        ("lora.down", &|name| name.replace("lora_A", "lora.down").replace("lora_B", "lora.up")),
        ("kohya", &|name| format!("lora_unet_{}", underscored(name))),
        ("lycoris", &|name| format!("lycoris_{}", underscored(name))),
    ];
    for (trainer, rename) in renames {
        assert!(fixture.merged(&fixture.lora.renamed(rename)).unwrap() == expected, "{trainer}");
    }
}

#[test]
fn all_layer_names_of_diffusers_are_found() {
    let fixture = Fixture::new();
    let shape = |name: &str| fixture.weights.tensors[name].shape.clone();
    for (layer, target) in [
        ("transformer.proj_in", PATCHIFY),
        ("transformer.audio_proj_in", "model.diffusion_model.audio_patchify_proj.weight"),
        ("transformer.time_embed.linear", "model.diffusion_model.adaln_single.linear.weight"),
        (
            "connectors.video_connector.transformer_blocks.0.attn1.to_q",
            "model.diffusion_model.video_embeddings_connector.transformer_1d_blocks.0.attn1.to_q.weight",
        ),
        ("connectors.text_proj_in", "text_embedding_projection.aggregate_embed.weight"),
        ("text_embedding_projection.aggregate_embed", "text_embedding_projection.aggregate_embed.weight"),
        (CONNECTOR, "model.diffusion_model.video_embeddings_connector.transformer_1d_blocks.0.attn1.to_q.weight"),
    ] {
        let [d_out, d_in] = shape(target)[..] else { panic!("{target}") };
        let merged = fixture.merged(&fixture.pair(layer, d_out, d_in)).unwrap();
        assert_eq!(merged.keys().collect::<Vec<_>>(), [target], "{layer}");
        assert!(merged[target] != fixture.weights.tensors[target].values(), "{layer}");
    }
}

#[test]
fn alpha_is_read_from_tensors_metadata_and_configuration() {
    let fixture = Fixture::new();
    let plain = fixture.merged(&fixture.lora).unwrap();
    // The demo's LoRA has rank 4, so alpha 16 multiplies its update by 4.
    let with_tensors = fixture.lora.tensors.keys().filter_map(|name| name.strip_suffix(".lora_A.weight"));
    let tensors = with_tensors
        .fold(fixture.lora.clone(), |lora, layer| lora.with(&format!("{layer}.alpha"), Stored::floats(&[], &[16.0])));
    let expected = fixture.merged(&tensors).unwrap();
    assert!(expected != plain);
    let metadata = r#"{"transformer.r": 4, "transformer.lora_alpha": 16}"#;
    let renamed = fixture.lora.renamed(|name| name.replace("diffusion_model.", "transformer."));
    for lora in [
        renamed.with_metadata("lora_adapter_metadata", metadata),
        fixture.lora.with_metadata("lora_adapter_metadata", metadata),
        fixture.lora.with_metadata("lora_alpha", "16"),
        tensors.with_metadata("lora_alpha", "4"),
    ] {
        assert!(fixture.merged(&lora).unwrap() == expected, "{:?}", lora.metadata);
    }
    let path = fixture.write("adapter_model", &fixture.lora);
    std::fs::write(path.with_file_name("adapter_config.json"), r#"{"r": 4, "lora_alpha": 16}"#).unwrap();
    assert!(fixture.merged_file(&path).unwrap() == expected);
}

#[test]
fn float8_pairs_are_decoded() {
    let fixture = Fixture::new();
    let (mut float8, mut dequantized) = (fixture.lora.clone(), fixture.lora.clone());
    for (name, stored) in &fixture.lora.tensors {
        let codes = to_e4m3(&stored.values());
        let values: Vec<f32> = codes.iter().map(|code| crate::edit::e4m3(*code)).collect();
        dequantized.tensors.insert(name.clone(), Stored::bf16(&stored.shape, &values));
        let float8_tensor = Stored { dtype: Dtype::F8_E4M3, shape: stored.shape.clone(), bytes: codes };
        float8.tensors.insert(name.clone(), float8_tensor);
    }
    assert!(fixture.merged(&float8).unwrap() == fixture.merged(&dequantized).unwrap());
}

#[test]
fn updates_of_other_methods_are_applied() {
    let fixture = Fixture::new();
    let weight = fixture.weights.tensors[TO_Q_WEIGHT].values();
    // Factors, products and sums may be rounded to bfloat16.
    let close = |found: f32, weight: f32, update: f32| {
        (found - weight - update).abs() <= 0.02 * (weight.abs() + update.abs()) + 1e-6
    };
    let all_close = |found: &[f32], update: &dyn Fn(usize) -> f32| {
        found.iter().enumerate().all(|(i, found)| close(*found, weight[i], update(i)))
    };
    let eight = |scale: f32| Stored::floats(&[8, 8], &(0..64).map(|i| scale * i as f32).collect::<Vec<_>>());
    // LoKr: element (8 a + b, 8 c + d) is w1 (a, c) times w2 (b, d).
    let lokr = Contents::default()
        .with(&format!("{TO_Q}.lokr_w1"), eight(0.01))
        .with(&format!("{TO_Q}.lokr_w2"), eight(0.02))
        .with(&format!("{TO_Q}.alpha"), Stored::floats(&[], &[3.0]));
    let merged = fixture.merged(&lokr).unwrap();
    let kronecker = |i: usize| {
        let (row, column) = (i / 64, i % 64);
        0.0002 * (row / 8 * 8 + column / 8) as f32 * (row % 8 * 8 + column % 8) as f32
    };
    assert!(all_close(&merged[TO_Q_WEIGHT], &kronecker));
    // LoHa of rank 1: each element is the product of four factors, times alpha over the rank.
    let vector = |shape: &[usize]| Stored::floats(shape, &(0..64).map(|i| 0.1 * i as f32).collect::<Vec<_>>());
    let loha = ["1", "2"].iter().fold(Contents::default(), |lora, index| {
        lora.with(&format!("{TO_Q}.hada_w{index}_a"), vector(&[64, 1]))
            .with(&format!("{TO_Q}.hada_w{index}_b"), vector(&[1, 64]))
    });
    let loha = loha.with(&format!("{TO_Q}.alpha"), Stored::floats(&[1], &[0.001]));
    let merged = fixture.merged(&loha).unwrap();
    let hadamard = |i: usize| 0.001 * (0.01 * (i / 64) as f32 * (i % 64) as f32).powi(2);
    assert!(all_close(&merged[TO_Q_WEIGHT], &hadamard));
    // Whole updates of a weight, a bias and a norm.
    let bias = "model.diffusion_model.transformer_blocks.0.attn1.to_q.bias";
    let norm = "model.diffusion_model.transformer_blocks.0.attn1.q_norm.weight";
    let ones = |count: usize| Stored::floats(&[count], &vec![1.0; count]);
    let diffs = fixture
        .lora
        .with(&format!("{TO_Q}.diff_b"), ones(64))
        .with("diffusion_model.transformer_blocks.0.attn1.q_norm.diff", ones(64));
    let (plain, merged) = (fixture.merged(&fixture.lora).unwrap(), fixture.merged(&diffs).unwrap());
    assert_eq!(merged.len(), plain.len() + 2);
    for name in [bias, norm] {
        let values = fixture.weights.tensors[name].values();
        assert!(merged[name].iter().zip(&values).all(|(found, value)| close(*found, *value, 1.0)), "{name}");
    }
}

#[test]
fn loras_that_cannot_be_applied_whole_are_refused_by_tensor() {
    let fixture = Fixture::new();
    let lora = &fixture.lora;
    let ones = |count: usize| Stored::floats(&[count], &vec![1.0; count]);
    let without = |name: &str| {
        let mut lora = lora.clone();
        lora.tensors.remove(&format!("{TO_Q}.{name}")).unwrap();
        lora
    };
    let int8 = Stored { dtype: Dtype::I8, shape: vec![4, 64], bytes: vec![1; 256] };
    let down = format!("{TO_Q}.lora_A.weight");
    let unknown = ["a", "b", "c"].iter().fold(lora.clone(), |lora, name| lora.with(&format!("{TO_Q}.{name}"), ones(1)));
    let stacks = lora.renamed(|name| name.replace("attn1", "attn9"));
    for (lora, expected) in [
        (
            lora.with(&format!("{TO_Q}.lora_magnitude_vector"), ones(64)),
            "lora_magnitude_vector cannot be applied: DoRA",
        ),
        (lora.with(&format!("{TO_Q}.dora_scale"), ones(64)), "DoRA"),
        (without("lora_B.weight"), "the other matrix of the pair of diffusion_model"),
        (without("lora_A.weight"), "to_q.lora_B.weight is missing"),
        (lora.with(&down, Stored::floats(&[5, 64], &[0.0; 320])), "has rank 5"),
        (lora.with(&down, Stored::floats(&[4, 32], &[0.0; 128])), "has shape [64, 32], but the weight"),
        (lora.with(&down, Stored::floats(&[4, 64, 1], &[0.0; 256])), "must be a matrix"),
        (lora.with(&down, int8), "stored as I8"),
        (unknown, "to_q.a cannot be applied: it is not a tensor of a LoRA (and 2 more tensors)"),
        (stacks, "attn9"),
        (lora.with("text_encoder.layers.0.diff", ones(1)), "its layer text_encoder.layers.0 is not in the checkpoint"),
        (lora.with(&format!("{TO_Q}.lokr_w1"), Stored::floats(&[1, 1], &[1.0])), "lokr_w2"),
        (lora.with("diffusion_model.patchify_proj.lora_B.bias", ones(1)), "lora_bias"),
        (lora.with(&format!("{TO_Q}.alpha"), ones(64)), "must be a scalar"),
        (lora.with(&format!("transformer.{}", &down[16..]), ones(1)), "transformer_blocks.0.attn1.to_q"),
        (lora.with_metadata("reference_downscale_factor", "2"), "IC-LoRA"),
        (lora.with_metadata("reference_temporal_scale_factor", "2"), "IC-LoRA"),
    ] {
        let error = fixture.error(&lora);
        assert!(error.contains("lora.safetensors") && error.contains(expected), "{expected}: {error}");
    }
    let path = fixture.write("ltx-2-19b-ic-lora-pose-control", lora);
    assert!(fixture.merged_file(&path).unwrap_err().to_string().contains("IC-LoRA"));
    assert!(fixture.merged_file(&fixture.write("basic-lora", lora)).is_ok());
}

#[test]
fn a_lora_of_the_connectors_changes_the_contexts_and_the_video() {
    let fixture = Fixture::new();
    let path = fixture.write("connector", &fixture.pair(CONNECTOR, 64, 64));
    let plain = run(fixture.demo.open().unwrap(), Vec::new()).unwrap();
    let changed = run(fixture.demo.open().unwrap(), vec![lora_input(&path)]).unwrap();
    assert!(changed.frames != plain.frames);
}

#[test]
fn a_lora_that_does_not_fit_fails_before_any_step() {
    let fixture = Fixture::new();
    let path = fixture.write("half", &{
        let mut lora = fixture.lora.clone();
        lora.tensors.remove(&format!("{TO_Q}.lora_B.weight"));
        lora
    });
    let failure = run(fixture.demo.open().unwrap(), vec![lora_input(&path)]).map(drop).unwrap_err();
    assert!(failure.message.contains("half.safetensors does not fit"), "{}", failure.message);
}

#[test]
fn the_report_names_usable_loras_and_cameras_and_why_others_are_not() {
    let fixture = Fixture::new();
    let demo = &fixture.demo;
    let write = |name: &str, lora: &Contents| lora.write(&demo.path(name));
    std::fs::create_dir(demo.path("loras")).unwrap();
    write("ink.safetensors", &fixture.lora);
    write("loras/ink.safetensors", &fixture.lora);
    write("loras/ltx-camera-control-dolly-in.safetensors", &fixture.lora);
    // A camera LoRA of another model is no camera motion of this one.
    write("loras/ltx-camera-control-jib-up.safetensors", &fixture.pair(TO_Q, 3, 5));
    std::fs::write(demo.path("loras/page.safetensors"), "<!DOCTYPE html><html></html>").unwrap();
    let report = demo.open().unwrap().lora_report();
    let names: Vec<&str> = report.usable.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["distilled_lora", "ink", "loras/ink", "ltx-camera-control-dolly-in"]);
    assert_eq!(report.cameras, [CameraMotion::DollyIn]);
    let reason = |name: &str| {
        let of = |(path, reason): &(PathBuf, String)| (*path == demo.path(name)).then(|| reason.clone());
        report.unusable.iter().find_map(of).unwrap_or_else(|| panic!("{name} in {report:?}"))
    };
    assert!(reason("loras/ltx-camera-control-jib-up.safetensors").contains("has shape [3, 5]"));
    assert!(reason("loras/page.safetensors").contains("HTML"));
    assert_eq!(report.unusable.len(), 2);
}
