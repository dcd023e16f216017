//! Header of a safetensors file: tensor ranges and string metadata.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Metadata, TensorInfo};

use super::error::CheckpointError;
use super::foreign::failed_download;
use super::range::{TensorRange, TensorShapes, fits_usize};

/// Reads the ranges of all tensors of a safetensors file.
pub(super) fn tensor_ranges(path: &Path) -> Result<BTreeMap<String, TensorRange>, CheckpointError> {
    let header = SafetensorsHeader::read(path)?;
    let range = |(name, info): (String, &TensorInfo)| {
        let offset = (header.length + info.data_offsets.0) as u64;
        (name, TensorRange { dtype: info.dtype, shape: info.shape.clone(), offset })
    };
    Ok(header.metadata.tensors().into_iter().map(range).collect())
}

/// Reads the string metadata of a safetensors file.
///
/// # Errors
/// If the file cannot be read, is not safetensors, or is shorter or longer than its header says.
pub fn read_metadata(path: &Path) -> Result<HashMap<String, String>, CheckpointError> {
    Ok(SafetensorsHeader::read(path)?.metadata.metadata().clone().unwrap_or_default())
}

/// Reads names and shapes of all tensors of a safetensors file. Fails as [`read_metadata`] does.
pub fn tensor_shapes(path: &Path) -> Result<TensorShapes, CheckpointError> {
    Ok(tensor_ranges(path)?.into_iter().map(|(name, range)| (name, range.shape)).collect())
}

/// A validated header.
struct SafetensorsHeader {
    metadata: Metadata,
    /// Bytes before the first tensor.
    length: usize,
}

impl SafetensorsHeader {
    fn read(path: &Path) -> Result<Self, CheckpointError> {
        let io = |source| CheckpointError::Io { path: path.into(), source };
        let invalid = |reason: String| CheckpointError::Safetensors { path: path.into(), reason };
        let file = std::fs::File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.len() == 0 {
            return Err(invalid("the file is empty".into()));
        }
        // SAFETY: the map is dropped before this function returns. Model files are immutable while they are in use: no other
        // process may write to or truncate the file meanwhile.
        let bytes = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
        if let Some(reason) = failed_download(&bytes) {
            return Err(CheckpointError::Foreign { path: path.into(), reason });
        }
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| invalid(error.to_string()))?;
        for (name, view) in tensors.iter() {
            if !fits_usize(view.shape()) {
                return Err(invalid(format!("tensor {name}: shape {:?} overflows usize", view.shape())));
            }
        }
        let (size, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| invalid(error.to_string()))?;
        // The header follows its own size, a u64.
        Ok(Self { metadata, length: size + size_of::<u64>() })
    }
}
