//! The published models at full size: the networks request exactly the tensors that the official modules declare
//! (`scripts/list_tensors.py`), so that the real files load. No weights are needed.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use ltx2_models::Checkpoint;
use ltx2_models::audio_vae::{AudioDecoder, AudioEncoder, AudioVaeConfig};
use ltx2_models::checkpoint::{CheckpointPart, Component, FileKind, file_kind};
use ltx2_models::text_encoder::{EmbeddingsConfig, EmbeddingsProcessor, Gemma, GemmaConfig};
use ltx2_models::transformer::{Transformer, TransformerConfig};
use ltx2_models::video_vae::{VideoDecoder, VideoEncoder, VideoVaeConfig};
use ltx2_models::vocoder::{Vocoder, VocoderConfig};
use ltx2_models::{Section, requested_tensors};
use serde_json::{Value, json};

type Shapes = BTreeMap<String, Vec<usize>>;

/// Builds all networks of `config` and returns the tensors they request.
fn requested_of(config: &Value) -> Shapes {
    let root = Section::root(config);
    let transformer = root.section("transformer");
    // All other values default to those of Gemma 3 12B.
    let gemma = GemmaConfig::new(
        &json!({"model_type": "gemma3", "text_config": {"rope_scaling": {"factor": 8.0, "rope_type": "linear"}}}),
    )
    .unwrap();
    let video_vae = VideoVaeConfig::new(&root.section("vae")).unwrap();
    let audio_vae = AudioVaeConfig::new(&root.section("audio_vae")).unwrap();
    let vocoder = VocoderConfig::new(&root.section("vocoder")).unwrap();
    let (transformer, embeddings) =
        (TransformerConfig::new(&transformer).unwrap(), EmbeddingsConfig::new(&transformer).unwrap());
    let requested = requested_tensors(|vb| {
        Transformer::new(&transformer, vb.clone())?;
        EmbeddingsProcessor::new(&embeddings, &gemma, vb.clone())?;
        VideoEncoder::new(&video_vae, vb.clone())?;
        VideoDecoder::new(&video_vae, vb.clone())?;
        AudioDecoder::new(&audio_vae, vb.clone())?;
        AudioEncoder::new(&audio_vae, vb.clone())?;
        Vocoder::new(&vocoder, vb.clone())?;
        Gemma::new(&gemma, vb)
    });
    requested.unwrap()
}

/// Parses a committed tensor list and expands its repeated blocks.
fn declared_tensors(list: &str) -> Shapes {
    let mut shapes = Shapes::new();
    for line in list.lines() {
        let (name, shape) = line.split_once(' ').unwrap();
        let shape: Vec<usize> = shape.split('x').map(|side| side.parse().unwrap()).collect();
        match name.split_once(".*") {
            None => drop(shapes.insert(name.into(), shape)),
            Some((before, after)) => {
                let (count, after) = after.split_once('.').unwrap();
                for i in 0..count.parse().unwrap() {
                    shapes.insert(format!("{before}.{i}.{after}"), shape.clone());
                }
            }
        }
    }
    shapes
}

/// Checks that the networks of `config` request the tensors of `list`, whose transformer blocks have `parameters`
/// parameters.
fn check_tensors(config: &str, list: &str, parameters: usize) {
    let spec: Value = serde_json::from_str(config).unwrap();
    let (requested, declared) = (requested_of(&spec["config"]), declared_tensors(list));
    let blocks = declared.iter().filter(|(name, _)| name.contains(".transformer_blocks."));
    assert_eq!(blocks.map(|(_, shape)| shape.iter().product::<usize>()).sum::<usize>(), parameters);
    for (name, shape) in &declared {
        assert_eq!(requested.get(name), Some(shape), "{name}");
    }
    for name in requested.keys() {
        assert!(declared.contains_key(name), "{name} is not declared");
    }
}

#[test]
fn ltx_2_19b_requests_the_tensors_of_the_official_modules() {
    check_tensors(
        include_str!("../../../models/architectures/ltx-2-19b.json"),
        include_str!("fixtures/ltx-2-19b.tensors"),
        18_531_581_952,
    );
}

#[test]
fn ltx_2_3_22b_requests_the_tensors_of_the_official_modules() {
    check_tensors(
        include_str!("../../../models/architectures/ltx-2.3-22b.json"),
        include_str!("fixtures/ltx-2.3-22b.tensors"),
        18_561_377_280,
    );
}

/// Writes a safetensors file without metadata that consists of a header and a hole.
fn write_sparse(shapes: &Shapes, path: &Path) {
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, shape) in shapes {
        let size = 2 * shape.iter().product::<usize>();
        header.insert(name.clone(), json!({"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}));
        end += size;
    }
    let mut header = Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len((8 + header.len() + end) as u64).unwrap();
}

#[test]
fn files_without_metadata_have_the_architecture_of_the_published_model_with_their_transformer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for (config, list) in [
        (include_str!("../../../models/architectures/ltx-2-19b.json"), include_str!("fixtures/ltx-2-19b.tensors")),
        (include_str!("../../../models/architectures/ltx-2.3-22b.json"), include_str!("fixtures/ltx-2.3-22b.tensors")),
    ] {
        let spec: Value = serde_json::from_str(config).unwrap();
        let mut shapes = declared_tensors(list);
        shapes.retain(|name, _| !name.starts_with("language_model."));
        write_sparse(&shapes, &path);
        let part = CheckpointPart { path: path.clone(), components: Component::ALL.to_vec() };
        assert_eq!(
            file_kind(&path).unwrap(),
            FileKind::Checkpoint { components: Component::ALL.to_vec(), version: String::new() }
        );
        let opened = Checkpoint::open_parts(std::slice::from_ref(&part)).unwrap();
        assert_eq!((opened.config(), opened.version()), (&spec["config"], spec["model_version"].as_str().unwrap()));
        // One layer less is another model.
        shapes.retain(|name, _| !name.contains(".transformer_blocks.47."));
        write_sparse(&shapes, &path);
        let error = Checkpoint::open_parts(&[part]).unwrap_err().to_string();
        assert!(error.contains("has no `config` for the transformer in its metadata"), "{error}");
    }
}
