//! An open GGUF file.

mod header;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Result, Tensor};
use memmap2::Mmap;
use serde_json::{Map, Value};

use self::header::{Encoding, GgufHeader, GgufTensor};
use super::error::CheckpointError;
use super::file_span::FileSpan;
use super::model_file;
use super::range::TensorShapes;
use super::reader::ReadTarget;

/// A GGUF file and its parsed header.
pub(crate) struct GgufFile {
    path: PathBuf,
    file: File,
    header: GgufHeader,
}

impl GgufFile {
    /// Opens a file, parses its header and checks that all tensors lie within the file.
    pub(crate) fn open(path: &Path) -> std::result::Result<Self, CheckpointError> {
        let io = |source| CheckpointError::Io { path: path.into(), source };
        let refuse = |reason: String| CheckpointError::Gguf { path: path.into(), reason };
        let file = model_file::open(path)?;
        // SAFETY: the map is dropped at the end of this statement. Model files are immutable while they are in use: no other
        // process may write to or truncate the file meanwhile.
        let header = GgufHeader::parse(&unsafe { Mmap::map(&file) }.map_err(io)?).map_err(refuse)?;
        let splits = header.metadata.get("split.count").and_then(Value::as_u64).unwrap_or(1);
        if splits > 1 {
            let reason = format!("split.count is {splits}, but only an unsplit file is supported: merge the splits");
            return Err(refuse(reason));
        }
        Ok(Self { path: path.into(), file, header })
    }

    /// Path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Scalars, strings and short arrays of the metadata by dotted key.
    pub(crate) fn metadata(&self) -> &Map<String, Value> {
        &self.header.metadata
    }

    /// Names of all tensors.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.header.tensors.keys()
    }

    /// Tensors by name.
    pub(super) fn tensors(&self) -> impl Iterator<Item = (&String, &GgufTensor)> {
        self.header.tensors.iter()
    }

    /// Tensor shapes by name.
    pub(crate) fn shapes(&self) -> TensorShapes {
        self.header.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect()
    }

    /// Shape of the tensor `name`; `None` if there is no such tensor.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.header.tensors.get(name).map(|tensor| tensor.shape.as_slice())
    }

    /// Reads a tensor: a dense one in its stored dtype, a quantised one dequantised to float32.
    pub(super) fn tensor(&self, name: &str, to: ReadTarget) -> Result<Tensor> {
        let tensor = self.find(name)?;
        match tensor.encoding {
            Encoding::Dense(dtype) => to.reader.tensor(self.span(tensor), dtype, &tensor.shape, to.device),
            Encoding::Quantized(kind) => self.read_quantized(tensor, kind, to)?.dequantize(to.device),
        }
    }

    /// Reads a quantised tensor without dequantising it; `None` if the tensor is dense.
    pub(super) fn quantized(&self, name: &str, to: ReadTarget) -> Result<Option<QTensor>> {
        let tensor = self.find(name)?;
        match tensor.encoding {
            Encoding::Dense(_) => Ok(None),
            Encoding::Quantized(kind) => self.read_quantized(tensor, kind, to).map(Some),
        }
    }

    fn read_quantized(&self, tensor: &GgufTensor, kind: GgmlDType, to: ReadTarget) -> Result<QTensor> {
        to.reader.quantized(self.span(tensor), kind, &tensor.shape, to.device)
    }

    fn span(&self, tensor: &GgufTensor) -> FileSpan<'_> {
        FileSpan { file: &self.file, offset: tensor.bytes.start as u64 }
    }

    fn find(&self, name: &str) -> Result<&GgufTensor> {
        let missing = || candle_core::Error::CannotFindTensor { path: name.into() }.bt();
        self.header.tensors.get(name).ok_or_else(missing)
    }
}
