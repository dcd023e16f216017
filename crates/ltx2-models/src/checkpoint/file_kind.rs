//! Kinds of weight files, determined from their headers.

use std::path::Path;

use serde_json::Value;

use super::folder::{has_extension, is_text_model};
use super::gguf::{GgufKind, kind_of};
use super::names::{Component, NameMap};
use crate::lora::Lora;
use crate::weight_files::gguf::GgufFile;
use crate::weight_files::{CheckpointError, TensorShapes, read_metadata, tensor_shapes};

/// Network or networks that a weight file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileKind {
    /// A checkpoint or a part of one.
    Checkpoint {
        /// Networks in the file, in the order of [`Component::ALL`].
        components: Vec<Component>,
        /// `model_version` of its metadata; empty if it has none.
        version: String,
    },
    /// The text model of Gemma 3.
    TextEncoder,
    /// A latent upscaler.
    Upscaler,
    /// A LoRA.
    Lora,
    /// Anything else, with a description.
    Other(String),
}

/// Determines the kind of the safetensors or GGUF file at `path`.
///
/// # Errors
/// The file cannot be read or is damaged.
pub fn file_kind(path: &Path) -> Result<FileKind, CheckpointError> {
    if has_extension(path, &["gguf"]) { of_gguf(path) } else { of_safetensors(path) }
}

fn of_gguf(path: &Path) -> Result<FileKind, CheckpointError> {
    let file = GgufFile::open(path)?;
    let shapes = file.shapes();
    let architecture = file.metadata().get("general.architecture").and_then(Value::as_str).unwrap_or("unknown");
    Ok(match kind_of(&file) {
        GgufKind::TextEncoder => FileKind::TextEncoder,
        _ => match components(&shapes) {
            found if found.is_empty() => FileKind::Other(format!("a GGUF file of the architecture {architecture}")),
            components => FileKind::Checkpoint { components, version: String::new() },
        },
    })
}

fn of_safetensors(path: &Path) -> Result<FileKind, CheckpointError> {
    let (shapes, metadata) = (tensor_shapes(path)?, read_metadata(path)?);
    let config = metadata.get("config").and_then(|text| serde_json::from_str::<Value>(text).ok());
    if config.is_some_and(|config| config.get("spatial_upsample").is_some()) {
        return Ok(FileKind::Upscaler);
    }
    if Lora::open(path).is_ok() {
        return Ok(FileKind::Lora);
    }
    let components = components(&shapes);
    Ok(if is_text_model(&shapes) {
        FileKind::TextEncoder
    } else if components.is_empty() {
        FileKind::Other(describe(&shapes))
    } else {
        FileKind::Checkpoint { components, version: metadata.get("model_version").cloned().unwrap_or_default() }
    })
}

/// Returns the components whose tensors are among `shapes`.
fn components(shapes: &TensorShapes) -> Vec<Component> {
    let map = NameMap::of(shapes);
    let mut found: Vec<Component> = shapes.keys().filter_map(|name| Component::of(&map.canonical(name))).collect();
    found.sort();
    found.dedup();
    // The blocks of video-only models have the transformer's prefix too.
    let has_audio = shapes.keys().any(|name| name.contains("transformer_blocks.0.audio_to_video_attn."));
    found.retain(|component| *component != Component::Transformer || has_audio);
    found
}

fn describe(shapes: &TensorShapes) -> String {
    let has = |part: &str| shapes.keys().any(|name| name.contains(part));
    match shapes.keys().next() {
        _ if has("transformer_blocks.0.attn1.") => "a transformer without the audio layers of LTX-2".into(),
        _ if has("initial_conv.weight") && has("upsampler.") => {
            "like an upscaler, but without `config` in its metadata".into()
        }
        Some(first) => format!("{} tensors such as {first}, of no network of LTX-2", shapes.len()),
        None => "a file without tensors".into(),
    }
}
