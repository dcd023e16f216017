//! Safetensors checkpoints: errors name the file, and float8 weights are exact.

mod common;

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
        (vec![], "it is empty: the download failed"),
        (b"not a model at all, but text".to_vec(), "not a usable safetensors file"),
        (valid[..valid.len() - 3].to_vec(), "it is truncated or damaged"),
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

/// A tensor of a test file: name, dtype, shape and bytes.
type Stored<'a> = (&'a str, safetensors::Dtype, &'a [usize], Vec<u8>);

/// Writes a checkpoint of `tensors` with more metadata.
fn write_checkpoint(tensors: &[Stored], metadata: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        (*name, safetensors::tensor::TensorView::new(*dtype, shape.to_vec(), bytes).unwrap())
    });
    let metadata = metadata.iter().chain(&[("config", "{}")]).map(|(k, v)| (k.to_string(), v.to_string()));
    write("fp8.safetensors", &safetensors::serialize(views, Some(metadata.collect())).unwrap())
}

/// All codes as a weight `(16, 16)` of `layer.weight`.
fn codes(name: &str, dtype: safetensors::Dtype) -> Stored<'_> {
    (name, dtype, &[16, 16], (0..=255).collect())
}

fn floats<'a>(name: &'a str, shape: &'a [usize], values: &[f32]) -> Stored<'a> {
    (name, safetensors::Dtype::F32, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

fn text<'a>(name: &'a str, text: &str) -> Stored<'a> {
    // The shape lives as long as the test program.
    let shape: &'static [usize] = Box::leak(Box::new([text.len()]));
    (name, safetensors::Dtype::U8, shape, text.as_bytes().to_vec())
}

/// Reads `layer.weight` of a checkpoint.
fn read_weight(path: &Path) -> Result<Vec<f32>, String> {
    let checkpoint = Checkpoint::open(path).map_err(|error| error.to_string())?;
    let requested = [("layer.weight".to_string(), vec![16, 16])].into();
    checkpoint.check(&requested, &["layer."]).map_err(|error| error.to_string())?;
    let weight = checkpoint.load(DType::F32, &test_device(), |vb| vb.get((16, 16), "layer.weight"));
    Ok(weight.unwrap().flatten_all().unwrap().to_vec1().unwrap())
}

fn bits(values: impl IntoIterator<Item = f32>) -> Vec<u32> {
    values.into_iter().filter(|v| !v.is_nan()).map(f32::to_bits).collect()
}

#[test]
fn float8_weights_are_exact_with_and_without_a_scale() {
    use safetensors::Dtype::F8_E4M3;
    let scale = 0.37f32;
    for scaled in [false, true] {
        let mut tensors = vec![codes("layer.weight", F8_E4M3)];
        if scaled {
            tensors.extend([floats("layer.weight_scale", &[], &[scale]), floats("layer.input_scale", &[], &[0.0])]);
        }
        let (_folder, path) = write_checkpoint(&tensors, &[]);
        let expected: Vec<f32> = (0..=255).map(|code| e4m3(code) * if scaled { scale } else { 1.0 }).collect();
        assert_eq!(bits(read_weight(&path).unwrap()), bits(expected));
        // Linear layers keep the codes and compute with the decoded values.
        let checkpoint = Checkpoint::open(&path).unwrap();
        let scale_bytes = if scaled { 4 } else { 0 };
        assert_eq!(checkpoint.loaded_bytes(&["layer.weight"], DType::F32), 256 + scale_bytes);
        let load = |vb: VarBuilder| {
            assert!(vb.pp("layer").get_quantized((16, 16), "weight")?.is_some());
            Ok((Linear::without_bias(16, 16, vb.pp("layer"))?, vb.get((16, 16), "layer.weight")?))
        };
        let (linear, weight) = checkpoint.load(DType::F32, &test_device(), load).unwrap();
        // Compare a single row that has no NaN.
        let transposed = linear.forward(&Tensor::eye(16, DType::F32, &test_device()).unwrap()).unwrap();
        let row = |matrix: &Tensor| matrix.i((2, ..)).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(row(&transposed.t().unwrap()), row(&weight));
    }
}

#[test]
fn all_published_spellings_of_scaled_codes_are_applied() {
    use safetensors::Dtype::{F8_E4M3, F8_E5M2, I8, U8};
    let e5m2 = |code: u8| half::f16::from_bits(u16::from(code) << 8).to_f32();
    let int8 = |code: u8| f32::from(code as i8);
    const DECLARED: &[(&str, &str)] =
        &[("_quantization_metadata", r#"{"layers": {"layer": {"format": "float8_e4m3fn"}}}"#)];
    const EMPTY: &[usize] = &[0];
    let marker = |name| (name, F8_E4M3, EMPTY, Vec::new());
    let one = || floats("layer.scale_input", &[1], &[1.0]);
    let uniform = |name| floats(name, &[], &[0.37]);
    type Case<'a> = (Vec<Stored<'a>>, &'a [(&'a str, &'a str)], fn(u8) -> f32);
    let cases: Vec<Case> = vec![
        (vec![codes("layer.weight", F8_E4M3), uniform("layer.scale_weight"), one(), marker("scaled_fp8")], &[], e4m3),
        (vec![codes("layer.weight", F8_E5M2), uniform("layer.weight_scale")], &[], e5m2),
        (vec![codes("layer.weight", I8), uniform("layer.weight_scale")], &[], int8),
        (
            vec![
                codes("layer.weight", U8),
                uniform("layer.weight_scale"),
                text("layer.comfy_quant", r#"{"format": "float8_e4m3fn", "full_precision_matrix_mult": true}"#),
            ],
            &[],
            e4m3,
        ),
        (vec![codes("layer.weight", U8), uniform("layer.weight_scale")], DECLARED, e4m3),
    ];
    for (index, (tensors, metadata, decode)) in cases.into_iter().enumerate() {
        let (_folder, path) = write_checkpoint(&tensors, metadata);
        let expected = (0..=255).map(|code| decode(code) * 0.37);
        assert_eq!(bits(read_weight(&path).unwrap()), bits(expected), "case {index}");
    }
    // A scale per output channel.
    let scales: Vec<f32> = (0..16).map(|i| 0.5 + i as f32).collect();
    for (name, shape) in [("layer.weight_scale", &[16][..]), ("layer.scale_weight", &[16, 1])] {
        let (_folder, path) = write_checkpoint(&[codes("layer.weight", I8), floats(name, shape, &scales)], &[]);
        let expected = (0..=255).map(|code| int8(code) * scales[usize::from(code) / 16]);
        assert_eq!(bits(read_weight(&path).unwrap()), bits(expected), "{name} {shape:?}");
    }
}

#[test]
fn weights_of_unknown_meaning_are_refused_by_name() {
    use safetensors::Dtype::{BF16, F8_E4M3, I8, U8};
    let scale = || floats("layer.weight_scale", &[], &[0.37]);
    let float8 = || codes("layer.weight", F8_E4M3);
    const SQUARE: &[usize] = &[16, 16];
    let bf16 = || ("layer.weight", BF16, SQUARE, vec![0; 512]);
    let beside = |name| floats(name, &[1], &[1.0]);
    for (tensors, metadata, expected) in [
        (vec![float8(), beside("layer.weight_scale_inv")], None, "weight_scale_inv"),
        (vec![float8(), scale(), beside("layer.weight_scale_2")], None, "NVFP4"),
        (vec![float8(), scale(), beside("layer.pre_quant_scale")], None, "pre_quant_scale"),
        (vec![float8(), scale(), beside("layer.mystery")], None, "layer.mystery beside it has no known meaning"),
        (vec![float8(), scale(), beside("layer.scale_weight")], None, "two scales"),
        (vec![float8(), beside("layer.input_scale")], None, "without a weight_scale"),
        (vec![float8(), beside("other.weight_scale")], None, "without a weight_scale"),
        (vec![float8(), floats("layer.weight_scale", &[2, 2], &[1.0; 4])], None, "shape [2, 2]"),
        (vec![float8(), text("layer.comfy_quant", r#"{"format": "float8_e5m2"}"#), scale()], None, "float8_e5m2"),
        (
            vec![
                codes("layer.weight", I8),
                scale(),
                text("layer.comfy_quant", r#"{"format": "int8_tensorwise", "convrot": true}"#),
            ],
            None,
            "convrot = true",
        ),
        (
            vec![codes("layer.weight", I8), scale()],
            Some(r#"{"layers": {"x": {"format": "int8_tensorwise"}}}"#),
            "describes the layer x",
        ),
        (vec![codes("layer.weight", I8)], None, "I8 without a weight_scale"),
        (vec![codes("layer.weight", U8), scale()], None, "U8 without a description"),
        (vec![bf16(), scale()], None, "not quantised"),
        (vec![bf16(), beside("layer.weight.absmax")], None, "bitsandbytes"),
        (vec![beside("layer.qweight"), beside("layer.qzeros")], None, "GPTQ or AWQ"),
        (vec![bf16(), beside("layer.child.weight")], None, "layer.child.weight"),
        (vec![floats("layer.weight", &[8, 16], &[0.0; 128])], None, "has shape [8, 16], but the architecture requires"),
        (vec![beside("layer.bias")], None, "tensor layer.weight is missing"),
    ] {
        let metadata: Vec<(&str, &str)> = metadata.map(|text| ("_quantization_metadata", text)).into_iter().collect();
        let (_folder, path) = write_checkpoint(&tensors, &metadata);
        let error = read_weight(&path).unwrap_err();
        assert!(error.contains(expected) && error.contains("fp8.safetensors"), "{expected}: {error}");
    }
}
