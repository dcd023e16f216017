//! Header of a safetensors file: tensor ranges and string metadata.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{SafeTensorError, SafeTensors};

use super::error::CheckpointError;
use super::model_file;
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
        let file = model_file::open(path)?;
        // SAFETY: the map is dropped before this function returns. Model files are immutable while they are in use: no other
        // process may write to or truncate the file meanwhile.
        let bytes = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| invalid(header_problem(&error)))?;
        for (name, view) in tensors.iter() {
            if !fits_usize(view.shape()) {
                return Err(invalid(format!("tensor {name}: shape {:?} overflows usize", view.shape())));
            }
        }
        let (size, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| invalid(header_problem(&error)))?;
        // The header follows its own size, a u64.
        Ok(Self { metadata, length: size + size_of::<u64>() })
    }
}

/// Describes an invalid header. Files in other formats begin with bytes that are no sensible length.
fn header_problem(error: &SafeTensorError) -> String {
    match error {
        SafeTensorError::HeaderTooLarge | SafeTensorError::InvalidHeader(_) => {
            format!("it does not begin with a header ({error}), so it has another format or is damaged")
        }
        SafeTensorError::HeaderTooSmall | SafeTensorError::InvalidHeaderLength => {
            format!("it ends within its header ({error}): download it again")
        }
        SafeTensorError::MetadataIncompleteBuffer => {
            "its size is not that of its tensors, so it is truncated or damaged: download it again".into()
        }
        error => error.to_string(),
    }
}
