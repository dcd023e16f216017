//! `ltx2 demo-model`: the synthetic model equals the reference script's, bit for bit; the trained one has its own defaults.

mod common;

use std::collections::BTreeMap;

/// Tensor count and FNV-1a hash over each tensor's name, shape and bytes, of the files that the reference script writes.
const LTX_2: [(&str, usize, u64); 4] = [
    ("ltx.safetensors", 633, 0x8c6b_2145_0197_38fe),
    ("gemma/model.safetensors", 132, 0x9120_c961_8731_3979),
    ("spatial_upscaler.safetensors", 24, 0xa813_e5ed_aee4_481d),
    ("distilled_lora.safetensors", 56, 0x76ac_9cfe_d877_636b),
];

/// The same for LTX-2.3, which shares text encoder and upscaler with LTX-2.
const LTX_2_3: [(&str, usize, u64); 4] = [
    ("ltx.safetensors", 1757, 0xe2ae_2692_df2f_44e7),
    LTX_2[1],
    LTX_2[2],
    ("distilled_lora.safetensors", 68, 0x48a6_c08b_c1f7_f0cc),
];

fn fingerprint(file: &std::path::Path) -> (usize, u64) {
    let bytes = std::fs::read(file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let sorted: BTreeMap<String, _> = tensors.tensors().into_iter().collect();
    let mut hash = 0xCBF2_9CE4_8422_2325u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    for (name, tensor) in &sorted {
        format!("{name}{:?}", tensor.shape()).bytes().for_each(&mut add);
        tensor.data().iter().copied().for_each(&mut add);
    }
    (sorted.len(), hash)
}

fn assert_fingerprints(folder: &std::path::Path, expected: [(&str, usize, u64); 4]) {
    for (file, count, hash) in expected {
        assert_eq!(fingerprint(&folder.join(file)), (count, hash), "{file}");
    }
}

#[test]
fn demo_models_equal_the_reference_bit_for_bit() {
    assert_fingerprints(common::demo_model(), LTX_2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    assert!(common::run(&["demo-model", "--synthetic", path, "--base", "ltx-2.3-22b"]).status.success());
    assert_fingerprints(folder.path(), LTX_2_3);
    let error = common::error_of(&["demo-model", "--synthetic", path, "--base", "ltx-9"]);
    assert!(error.contains("base is ltx-9, but it must be one of ltx-2-19b, ltx-2.3-22b"), "{error}");
}

#[test]
fn the_trained_model_comes_with_its_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    assert!(common::run(&["demo-model", path]).status.success());
    let defaults: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("defaults.json")).unwrap()).unwrap();
    let output = common::run(&["plan", "--models", path, "--prompt", "A red ball", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let plan = &plan["plan"];
    assert_eq!(plan["stages"][0]["shape"]["width"], defaults["width"], "{plan}");

    std::fs::write(folder.path().join("defaults.json"), r#"{"steps": 3}"#).unwrap();
    let error = common::error_of(&["plan", "--models", path, "--prompt", "A red ball"]);
    assert!(error.contains("defaults.json is not valid: unknown field `steps`"), "{error}");
    std::fs::write(folder.path().join("defaults.json"), r#"{"height": 100}"#).unwrap();
    let error = common::error_of(&["plan", "--models", path, "--prompt", "A red ball"]);
    assert!(error.contains("height is 100"), "{error}");
}

#[test]
fn a_base_or_seed_needs_the_synthetic_model() {
    let error = common::error_of(&["demo-model", "unused", "--seed", "3"]);
    assert!(error.contains("--synthetic"), "{error}");
}
