//! The headers of files: names, shapes and metadata, without the tensors.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::Metadata;
use serde_json::Value;

use super::CheckpointError;

/// Names and shapes of the tensors of a file.
pub type TensorShapes = BTreeMap<String, Vec<usize>>;

/// Parses a JSON file.
pub fn read_json(path: &Path) -> Result<Value, CheckpointError> {
    let text = std::fs::read_to_string(path).map_err(|source| CheckpointError::Io { path: path.into(), source })?;
    serde_json::from_str(&text)
        .map_err(|error| CheckpointError::Damaged { path: path.into(), reason: format!("not JSON: {error}") })
}

/// The string metadata of a safetensors file, after checking that the file is as long as its header says.
pub fn read_metadata(path: &Path) -> Result<HashMap<String, String>, CheckpointError> {
    header(path, |_, metadata| metadata.metadata().clone().unwrap_or_default())
}

/// The names and shapes of the tensors of a safetensors file.
pub fn tensor_shapes(path: &Path) -> Result<TensorShapes, CheckpointError> {
    header(path, |tensors, _| tensors.tensors().into_iter().map(|(name, view)| (name, view.shape().to_vec())).collect())
}

fn header<T>(path: &Path, read: impl FnOnce(&SafeTensors, &Metadata) -> T) -> Result<T, CheckpointError> {
    let io = |source| CheckpointError::Io { path: path.into(), source };
    let damaged = |reason: String| CheckpointError::Damaged { path: path.into(), reason };
    let file = std::fs::File::open(path).map_err(io)?;
    if file.metadata().map_err(io)?.len() == 0 {
        return Err(damaged("it is empty".into()));
    }
    // SAFETY: read once here, and not changed while the server runs.
    let bytes = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    for (name, view) in tensors.iter() {
        if !is_measurable(view.shape()) {
            return Err(damaged(format!("tensor {name}: its shape {:?} is beyond measure", view.shape())));
        }
    }
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
    Ok(read(&tensors, &metadata))
}

/// Whether strides can be counted. A file may have tensors without elements, whose other sides are of any length.
pub(super) fn is_measurable(shape: &[usize]) -> bool {
    shape.iter().filter(|side| **side > 0).try_fold(1_usize, |product, side| product.checked_mul(*side)).is_some()
}
