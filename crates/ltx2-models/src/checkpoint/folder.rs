//! Files of a folder of weights.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::weight_files::{CheckpointError, TensorShapes, model_file};

/// Parses a JSON file.
pub fn read_json(path: &Path) -> Result<Value, CheckpointError> {
    serde_json::from_slice(&model_file::read(path)?)
        .map_err(|source| CheckpointError::Json { path: path.into(), source })
}

/// Prefixes of the text model: in newer versions of transformers, and without the vision tower.
const TEXT_MODEL_PREFIXES: [&str; 2] = ["model.language_model.", "model."];
/// Beginnings of the names below these prefixes.
const TEXT_MODEL: [&str; 3] = ["layers.", "embed_tokens.", "norm."];

/// Maps a tensor name of a text encoder to its published name.
pub(super) fn hugging_face_name(name: &str) -> String {
    let inner = TEXT_MODEL_PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix));
    match inner.filter(|inner| TEXT_MODEL.iter().any(|start| inner.starts_with(start))) {
        Some(inner) => format!("language_model.model.{inner}"),
        None => name.into(),
    }
}

/// Whether tensors of these names and shapes are the text model of Gemma 3, which norms queries and feed-forward inputs.
pub(super) fn is_text_model(shapes: &TensorShapes) -> bool {
    let has = |part: &str| shapes.keys().any(|name| hugging_face_name(name) == format!("language_model.model.{part}"));
    has("layers.0.self_attn.q_norm.weight") && has("layers.0.pre_feedforward_layernorm.weight")
}

/// Whether the file name of `path` ends with one of `extensions`, in any case.
pub fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|found| extensions.iter().any(|wanted| found.eq_ignore_ascii_case(wanted)))
}

/// Whether the file is hidden, such as the `._` files that macOS leaves on other file systems.
pub fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Lists the safetensors files of a folder: those of its index, or all if it has no index.
pub(super) fn shards(folder: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let refuse = |reason| CheckpointError::Folder { path: folder.into(), reason };
    let mut indices = with_extension(folder, "json")?;
    indices.retain(|path| path.to_string_lossy().ends_with(".safetensors.index.json"));
    let path = match indices.as_slice() {
        [] => return with_extension(folder, "safetensors"),
        [path] => path,
        _ => return Err(refuse(format!("it has more than one index: {indices:?}"))),
    };
    let index = read_json(path)?;
    let map = index.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| refuse(format!("{} has no weight_map", path.display())))?;
    let mut files: Vec<PathBuf> = map.values().filter_map(Value::as_str).map(|name| folder.join(name)).collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// Lists the visible files of a folder with the extension `wanted`, sorted by name.
pub(super) fn with_extension(folder: &Path, wanted: &str) -> Result<Vec<PathBuf>, CheckpointError> {
    let mut files = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>())
        .map_err(|source| CheckpointError::Io { path: folder.into(), source })?;
    files.retain(|file| has_extension(file, &[wanted]) && !is_hidden(file));
    files.sort();
    Ok(files)
}
