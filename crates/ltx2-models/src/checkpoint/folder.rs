//! Files of a folder of weights.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::weight_files::{CheckpointError, failed_download};

/// Parses a JSON file.
pub fn read_json(path: &Path) -> Result<Value, CheckpointError> {
    let text = std::fs::read_to_string(path).map_err(|source| CheckpointError::Io { path: path.into(), source })?;
    if let Some(reason) = failed_download(text.as_bytes()) {
        return Err(CheckpointError::Foreign { path: path.into(), reason });
    }
    serde_json::from_str(&text).map_err(|source| CheckpointError::Json { path: path.into(), source })
}

/// Maps a tensor name of a text encoder to its published name. Newer versions of transformers put `model.` first.
pub(super) fn hugging_face_name(name: &str) -> String {
    match name.strip_prefix("model.language_model.") {
        Some(rest) => format!("language_model.model.{rest}"),
        None => name.into(),
    }
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

/// Lists the files of a folder with the extension `wanted`, sorted by name.
pub(super) fn with_extension(folder: &Path, wanted: &str) -> Result<Vec<PathBuf>, CheckpointError> {
    let mut files = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>())
        .map_err(|source| CheckpointError::Io { path: folder.into(), source })?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == wanted));
    files.sort();
    Ok(files)
}
