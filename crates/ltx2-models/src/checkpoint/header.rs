//! The headers of files: names, shapes and metadata, without the tensors.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::Value;

use super::CheckpointError;
use super::safetensors_file::Place;

/// Names and shapes of the tensors of a file.
pub type TensorShapes = BTreeMap<String, Vec<usize>>;

/// Parses a JSON file.
pub fn read_json(path: &Path) -> Result<Value, CheckpointError> {
    let text = std::fs::read_to_string(path).map_err(|source| CheckpointError::Io { path: path.into(), source })?;
    serde_json::from_str(&text)
        .map_err(|error| CheckpointError::Damaged { path: path.into(), reason: format!("not JSON: {error}") })
}

/// The places of the tensors of a safetensors file.
pub(super) fn places(path: &Path) -> Result<BTreeMap<String, Place>, CheckpointError> {
    header(path, |header| {
        let place = |(name, info): (String, &TensorInfo)| {
            let at = (header.length + info.data_offsets.0) as u64;
            (name, Place { dtype: info.dtype, shape: info.shape.clone(), at })
        };
        header.metadata.tensors().into_iter().map(place).collect()
    })
}

/// The string metadata of a safetensors file, after checking that the file is as long as its header says.
pub fn read_metadata(path: &Path) -> Result<HashMap<String, String>, CheckpointError> {
    header(path, |header| header.metadata.metadata().clone().unwrap_or_default())
}

/// The names and shapes of the tensors of a safetensors file.
pub fn tensor_shapes(path: &Path) -> Result<TensorShapes, CheckpointError> {
    Ok(places(path)?.into_iter().map(|(name, place)| (name, place.shape)).collect())
}

/// A file's, checked.
struct Header {
    metadata: Metadata,
    /// In bytes: where the numbers begin.
    length: usize,
}

fn header<T>(path: &Path, read: impl FnOnce(&Header) -> T) -> Result<T, CheckpointError> {
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
    let (size, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
    // Its size stands before it.
    Ok(read(&Header { metadata, length: size + size_of::<u64>() }))
}

/// Whether strides can be counted. A file may have tensors without elements, whose other sides are of any length.
pub(super) fn is_measurable(shape: &[usize]) -> bool {
    shape.iter().filter(|side| **side > 0).try_fold(1_usize, |product, side| product.checked_mul(*side)).is_some()
}
