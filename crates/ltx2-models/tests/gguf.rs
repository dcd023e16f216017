//! GGUF files as checkpoints: origin of each tensor, quantised linear layers, and rejected files.

mod common;

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Result, Tensor};
use ltx2_models::checkpoint::{CheckpointPart, Component, FileKind, GgufKind, file_kind, gguf_kind};
use ltx2_models::linear::Linear;
use ltx2_models::{Checkpoint, VarBuilder};

use common::test_device;

const FIRST: &str = "transformer_blocks.0.audio_to_video_attn.to_q.weight";
const CONFIG: &str = r#"{"transformer": {}, "vae": {}, "audio_vae": {}, "vocoder": {}}"#;
const MODEL: &str = "model.diffusion_model.";

/// A tensor of elements between -1 and 1.
fn test_values(shape: (usize, usize)) -> Tensor {
    let values: Vec<f32> = (0..shape.0 * shape.1).map(|i| (i as f32 * 0.7).sin()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Name, quantisation and shape.
type TensorSpecs<'a> = &'a [(&'a str, GgmlDType, (usize, usize))];

fn write_gguf(path: &Path, architecture: &str, metadata: &[(&str, Value)], tensors: TensorSpecs) {
    let quantise =
        |(_, kind, shape): &(&str, GgmlDType, (usize, usize))| QTensor::quantize(&test_values(*shape), *kind);
    let quantised: Vec<QTensor> = tensors.iter().map(|tensor| quantise(tensor).unwrap()).collect();
    let views: Vec<(&str, &QTensor)> =
        tensors.iter().zip(&quantised).map(|((name, ..), tensor)| (*name, tensor)).collect();
    let architecture = Value::String(architecture.into());
    let mut all = vec![("general.architecture", &architecture)];
    all.extend(metadata.iter().map(|(key, value)| (*key, value)));
    gguf_file::write(&mut File::create(path).unwrap(), &all, &views).unwrap();
}

fn write_safetensors(path: &Path, names: &[&str]) {
    let tensors: HashMap<String, Tensor> = names.iter().map(|name| (name.to_string(), test_values((32, 64)))).collect();
    let metadata = HashMap::from([("config".to_string(), CONFIG.to_string()), ("model_version".into(), "2.0".into())]);
    safetensors::serialize_to_file(&tensors, Some(metadata), path).unwrap();
}

/// A checkpoint with the transformer of a GGUF file that lacks the connectors and one layer.
fn checkpoint_with_gguf_transformer(folder: &Path) -> Checkpoint {
    let (safetensors, gguf) = (folder.join("ltx.safetensors"), folder.join("ltx-Q4_0.gguf"));
    let first = format!("{MODEL}{FIRST}");
    let (missing, connector) =
        (format!("{MODEL}missing.weight"), format!("{MODEL}video_embeddings_connector.a.weight"));
    write_safetensors(&safetensors, &[&first, &missing, &connector, "vae.decoder.a.weight"]);
    let tensors = [(FIRST, GgmlDType::Q4_0, (32, 64)), ("scale_shift_table", GgmlDType::Q8_0, (2, 64))];
    write_gguf(&gguf, "ltxv", &[], &tensors);
    let others = Component::ALL[1..].to_vec();
    let part = |path: &Path, components| CheckpointPart { path: path.into(), components };
    Checkpoint::open_parts(&[part(&gguf, vec![Component::Transformer]), part(&safetensors, others)]).unwrap()
}

#[test]
fn gguf_replaces_the_transformer_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint_with_gguf_transformer(folder.path());
    assert_eq!((checkpoint.version(), checkpoint.path()), ("2.0", folder.path().join("ltx-Q4_0.gguf").as_path()));
    let device = test_device();
    let get = |name: &str| checkpoint.load(DType::F32, &device, |vb| vb.get((32, 64), name));
    let error_of = |name: &str| {
        let error = (get(name).unwrap().to_device(&Device::Cpu).unwrap() - test_values((32, 64)))
            .unwrap()
            .abs()
            .unwrap()
            .max_all()
            .unwrap();
        error.to_scalar::<f32>().unwrap()
    };
    assert!(error_of(&format!("{MODEL}{FIRST}")) > 0.01);
    assert_eq!(error_of(&format!("{MODEL}video_embeddings_connector.a.weight")), 0.0);
    assert_eq!(error_of("vae.decoder.a.weight"), 0.0);
    // A layer missing from the GGUF file is not taken from the safetensors file, and errors name the right file.
    for (name, file) in [(format!("{MODEL}missing.weight"), "ltx-Q4_0.gguf"), ("vae.b".into(), "ltx.safetensors")] {
        let error = get(&name).unwrap_err().to_string();
        assert!(error.contains(file) && error.contains(&name), "{error}");
    }
    let error = checkpoint.load(DType::F32, &device, |vb| vb.get((64, 32), &format!("{MODEL}{FIRST}")));
    assert!(error.unwrap_err().to_string().contains("ltx-Q4_0.gguf"));
}

#[test]
fn linear_layers_keep_quantised_weights_and_dequantise_them_for_the_matmul() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint_with_gguf_transformer(folder.path());
    let name = format!("{MODEL}{FIRST}");
    let layer = name.strip_suffix(".weight").unwrap();
    for dtype in [DType::F32, DType::BF16] {
        let load = |vb: VarBuilder| {
            assert!(vb.pp(layer).get_quantized((32, 64), "weight")?.is_some());
            Ok((Linear::without_bias(64, 32, vb.pp(layer))?, vb.get((32, 64), &name)?))
        };
        let device = test_device();
        let (linear, weight) = checkpoint.load(dtype, &device, load).unwrap();
        let x = test_values((3, 64)).to_device(&device)?.to_dtype(dtype)?;
        let error = (linear.forward(&x)? - x.matmul(&weight.t()?)?)?.to_dtype(DType::F32)?.abs()?.max_all()?;
        assert_eq!(error.to_scalar::<f32>()?, 0.0);
    }
    // Q4_0 takes 18 bytes per 32 weights. The table is no linear layer and is dequantised.
    assert_eq!(checkpoint.loaded_bytes(&[&name], DType::F32), 32 * 64 / 32 * 18);
    assert_eq!(checkpoint.loaded_bytes(&[MODEL], DType::BF16), 32 * 64 / 32 * 18 + 2 * 64 * 2 + 32 * 64 * 2);
    Ok(())
}

#[test]
fn unsupported_gguf_files_are_identified_and_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write_safetensors(&path("ltx.safetensors"), &["vae.decoder.a.weight"]);
    write_gguf(&path("flux.gguf"), "flux", &[], &[("double_blocks.0.img_attn.qkv.weight", GgmlDType::Q8_0, (32, 32))]);
    write_gguf(&path("ltx.gguf"), "ltxv", &[], &[(FIRST, GgmlDType::Q8_0, (32, 32))]);
    write_gguf(&path("part.gguf"), "gemma3", &[("split.count", Value::U16(2))], &[]);
    assert_eq!(gguf_kind(&path("flux.gguf")).unwrap(), GgufKind::Other);
    assert_eq!(gguf_kind(&path("ltx.gguf")).unwrap(), GgufKind::Transformer);
    let other = file_kind(&path("flux.gguf")).unwrap();
    assert_eq!(other, FileKind::Other("a GGUF file of the architecture flux".into()));
    let refused = gguf_kind(&path("part.gguf")).unwrap_err().to_string();
    assert!(refused.contains("split.count is 2"), "{refused}");
}

#[test]
fn text_encoder_without_a_required_key_is_rejected_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gemma.gguf");
    let open = |metadata: &[(&str, Value)]| {
        write_gguf(&path, "gemma3", metadata, &[("token_embd.weight", GgmlDType::Q8_0, (32, 32))]);
        Checkpoint::open_folder(folder.path())
    };
    let mut metadata: Vec<(&str, Value)> = [
        "gemma3.embedding_length",
        "gemma3.block_count",
        "gemma3.feed_forward_length",
        "gemma3.attention.head_count",
        "gemma3.attention.head_count_kv",
        "gemma3.attention.key_length",
        "gemma3.attention.sliding_window",
    ]
    .map(|key| (key, Value::U32(32)))
    .into();
    metadata.push(("gemma3.attention.layer_norm_rms_epsilon", Value::F32(1e-6)));
    let config = open(&metadata).unwrap().config()["text_config"].clone();
    assert_eq!((&config["vocab_size"], &config["rms_norm_eps"]), (&32.into(), &1e-6.into()));
    for i in 0..metadata.len() {
        let mut without = metadata.clone();
        let (key, _) = without.remove(i);
        let error = open(&without).unwrap_err().to_string();
        assert!(error.contains(&format!("{key} is missing")) && error.contains("gemma.gguf"), "{error}");
    }
    metadata.push(("gemma3.rope.scaling.type", Value::String("yarn".into())));
    assert!(open(&metadata).unwrap_err().to_string().contains("gemma3.rope.scaling.type is \"yarn\""));
    std::fs::remove_file(&path).unwrap();
    assert!(Checkpoint::open_folder(folder.path()).unwrap_err().to_string().contains("neither *.safetensors nor"));
}
