//! Safetensors checkpoints: errors name the file, and float8 weights are exact.

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, IndexOp, Tensor};
use ltx2_models::linear::Linear;
use ltx2_models::{Checkpoint, VarBuilder};

use common::test_device;

fn write(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// A valid file with one tensor `x` of two elements.
fn valid_file(metadata: &[(&str, &str)]) -> Vec<u8> {
    let values: Vec<u8> = [1f32, 2.].iter().flat_map(|v| v.to_le_bytes()).collect();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![2], &values).unwrap();
    let metadata = metadata.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    safetensors::serialize([("x", view)], Some(metadata)).unwrap()
}

#[test]
fn errors_of_invalid_files_name_the_file_and_the_reason() {
    let valid = valid_file(&[("config", "{}"), ("model_version", "2.0")]);
    for (bytes, expected) in [
        (vec![], "the file is empty"),
        (b"not a model at all, but text".to_vec(), "not a usable safetensors file"),
        (valid[..valid.len() - 3].to_vec(), "not a usable safetensors file"),
        (valid_file(&[("model_version", "2.0")]), "no `config` in its metadata"),
        (valid_file(&[("config", "{")]), "`config` in its metadata is not JSON"),
    ] {
        let (_folder, path) = write("model.safetensors", &bytes);
        let error = Checkpoint::open(&path).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("model.safetensors"), "{error}");
    }
    let (_folder, path) = write("model.safetensors", &valid);
    assert_eq!(Checkpoint::open(&path).unwrap().version(), "2.0");
    assert!(Checkpoint::open(Path::new("nowhere.safetensors")).unwrap_err().to_string().contains("nowhere"));
}

#[test]
fn empty_tensors_are_read_unless_their_shape_overflows() {
    for (shape, is_valid) in
        [("[0, 4]", true), ("[0, 9223372036854775808, 4]", false), ("[4294967296, 0, 4294967296]", false)]
    {
        let header = format!(
            r#"{{"__metadata__": {{"config": "{{}}"}}, "x": {{"dtype": "F32", "shape": {shape}, "data_offsets": [0, 0]}}}}"#
        );
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
        let (_folder, path) = write("model.safetensors", &bytes);
        match Checkpoint::open(&path) {
            Ok(checkpoint) => {
                assert!(is_valid, "{shape}");
                let read = checkpoint.load(DType::F32, &Device::Cpu, |vb| vb.get((0, 4), "x")).unwrap();
                assert_eq!(read.dims(), [0, 4]);
            }
            Err(error) => assert!(!is_valid && error.to_string().contains("tensor x: shape"), "{error}"),
        }
    }
}

#[test]
fn errors_of_missing_or_misshapen_tensors_name_the_tensor() {
    let (_folder, path) = write("model.safetensors", &valid_file(&[("config", "{}")]));
    let checkpoint = Checkpoint::open(&path).unwrap();
    let get = |shape: usize, name: &'static str| {
        checkpoint.load(DType::F32, &Device::Cpu, |vb| vb.get(shape, name)).unwrap_err().to_string()
    };
    assert!(get(2, "absent").contains("absent"));
    assert!(get(3, "x").contains('x'));
}

/// Decodes a float8 e4m3 code: no infinities, and NaN where exponent and mantissa are all ones.
fn e4m3(code: u8) -> f32 {
    let (sign, exponent, mantissa) = (code >> 7, (code >> 3) & 15, f32::from(code & 7));
    let magnitude = match (exponent, code & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa / 8.0 * 2f32.powi(-6),
        _ => (1.0 + mantissa / 8.0) * 2f32.powi(i32::from(exponent) - 7),
    };
    if sign == 1 { -magnitude } else { magnitude }
}

#[test]
fn float8_weights_are_exact_with_and_without_a_scale() {
    let codes: Vec<u8> = (0..=255).collect();
    let scale = 0.37f32;
    let (scale_bytes, bias) = (scale.to_le_bytes(), [0u8; 4]);
    let view =
        |dtype, shape: &[usize], bytes| safetensors::tensor::TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
    let tensors = [
        ("cast.weight", view(safetensors::Dtype::F8_E4M3, &[16, 16], &codes)),
        ("scaled.weight", view(safetensors::Dtype::F8_E4M3, &[16, 16], &codes)),
        ("scaled.weight_scale", view(safetensors::Dtype::F32, &[], &scale_bytes)),
        ("scaled.input_scale", view(safetensors::Dtype::F32, &[], &bias)),
    ];
    let metadata = HashMap::from([("config".to_string(), "{}".to_string())]);
    let (_folder, path) = write("fp8.safetensors", &safetensors::serialize(tensors, Some(metadata)).unwrap());
    let checkpoint = Checkpoint::open(&path).unwrap();
    let read = |name: &'static str| {
        let weight = checkpoint.load(DType::F32, &test_device(), |vb| vb.get((16, 16), name)).unwrap();
        weight.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let bits = |values: Vec<f32>| values.into_iter().filter(|v| !v.is_nan()).map(f32::to_bits).collect::<Vec<_>>();
    let expected: Vec<f32> = codes.iter().map(|code| e4m3(*code)).collect();
    assert_eq!(bits(read("cast.weight")), bits(expected.clone()));
    assert_eq!(bits(read("scaled.weight")), bits(expected.iter().map(|value| value * scale).collect()));
    // Linear layers keep the codes and compute with the decoded values.
    let (weights, scale_bytes) = (["cast.weight", "scaled.weight"], 4);
    assert_eq!(checkpoint.loaded_bytes(&weights, DType::F32), 2 * 256 + scale_bytes);
    for layer in ["cast", "scaled"] {
        let load = |vb: VarBuilder| {
            assert!(vb.pp(layer).get_quantized((16, 16), "weight")?.is_some());
            Ok((Linear::without_bias(16, 16, vb.pp(layer))?, vb.get((16, 16), &format!("{layer}.weight"))?))
        };
        let (linear, weight) = checkpoint.load(DType::F32, &test_device(), load).unwrap();
        // Compare a single row that has no NaN.
        let transposed = linear.forward(&Tensor::eye(16, DType::F32, &test_device()).unwrap()).unwrap();
        let row = |matrix: &Tensor| matrix.i((2, ..)).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(row(&transposed.t().unwrap()), row(&weight), "{layer}");
    }
}
