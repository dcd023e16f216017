//! An open safetensors file.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::{DType, Error, Result, Tensor};
use safetensors::Dtype;

use super::error::CheckpointError;
use super::file_span::FileSpan;
use super::range::{TensorRange, TensorShapes};
use super::reader::ReadTarget;
use super::safetensors_header::tensor_ranges;

/// A safetensors file and the tensor ranges of its header.
pub(crate) struct SafetensorsFile {
    path: PathBuf,
    file: File,
    tensors: BTreeMap<String, TensorRange>,
}

impl SafetensorsFile {
    /// Opens a file, reads its header and checks that all tensors lie within the file.
    pub(crate) fn open(path: &Path) -> std::result::Result<Self, CheckpointError> {
        let tensors = tensor_ranges(path)?;
        let file = File::open(path).map_err(|source| CheckpointError::Io { path: path.into(), source })?;
        Ok(Self { path: path.into(), file, tensors })
    }

    /// Path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Tensor ranges by name.
    pub(super) fn tensors(&self) -> impl Iterator<Item = (&String, &TensorRange)> {
        self.tensors.iter()
    }

    /// Tensor shapes by name.
    pub(crate) fn shapes(&self) -> TensorShapes {
        self.tensors.iter().map(|(name, range)| (name.clone(), range.shape.clone())).collect()
    }

    /// Whether the tensor `name` is stored in float8 e4m3.
    pub(super) fn is_float8(&self, name: &str) -> bool {
        self.tensors.get(name).is_some_and(|range| range.quantized_bytes().is_some())
    }

    /// Reads the tensor `name` in its stored dtype; float8 codes as U8.
    pub(crate) fn tensor(&self, name: &str, to: ReadTarget) -> Result<Tensor> {
        let range = self.tensors.get(name).ok_or_else(|| Error::CannotFindTensor { path: name.into() }.bt())?;
        let dtype = match range.dtype {
            Dtype::F8_E4M3 => DType::U8,
            other => DType::try_from(other)?,
        };
        to.reader.tensor(FileSpan { file: &self.file, offset: range.offset }, dtype, &range.shape, to.device)
    }
}
