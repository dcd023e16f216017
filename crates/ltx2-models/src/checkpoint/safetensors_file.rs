//! A safetensors file: what is where in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::{DType, Error, Result, Tensor};
use safetensors::Dtype;

use super::reader::{Span, To};
use super::{CheckpointError, TensorShapes, header};

/// The file, open, with what its header says.
pub(crate) struct SafetensorsFile {
    path: PathBuf,
    file: File,
    tensors: BTreeMap<String, Place>,
}

/// A tensor's place in the file.
pub(super) struct Place {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Where it begins, in bytes from the file's beginning.
    pub(super) at: u64,
}

impl Place {
    /// Bytes of its codes, if it has float8 codes.
    pub(super) fn packed_bytes(&self) -> Option<usize> {
        (self.dtype == Dtype::F8_E4M3).then(|| self.shape.iter().product())
    }
}

impl SafetensorsFile {
    /// Reads the header and checks that all tensors are within the file.
    pub(crate) fn open(path: &Path) -> std::result::Result<Self, CheckpointError> {
        let tensors = header::places(path)?;
        let file = File::open(path).map_err(|source| CheckpointError::Io { path: path.into(), source })?;
        Ok(Self { path: path.into(), file, tensors })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors by their names in the file.
    pub(super) fn tensors(&self) -> impl Iterator<Item = (&String, &Place)> {
        self.tensors.iter()
    }

    /// Names and shapes.
    pub(crate) fn shapes(&self) -> TensorShapes {
        self.tensors.iter().map(|(name, place)| (name.clone(), place.shape.clone())).collect()
    }

    /// Whether `name` is stored as float8 codes.
    pub(super) fn is_float8(&self, name: &str) -> bool {
        self.tensors.get(name).is_some_and(|place| place.packed_bytes().is_some())
    }

    /// The tensor `name` as it is stored; the codes of float8 numbers as bytes.
    pub(crate) fn tensor(&self, name: &str, to: To) -> Result<Tensor> {
        let place = self.tensors.get(name).ok_or_else(|| Error::CannotFindTensor { path: name.into() }.bt())?;
        let dtype = match place.dtype {
            Dtype::F8_E4M3 => DType::U8,
            other => DType::try_from(other)?,
        };
        to.reader.tensor(Span { file: &self.file, at: place.at }, dtype, &place.shape, to.device)
    }
}
