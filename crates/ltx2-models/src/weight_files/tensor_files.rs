//! The tensors of one or several files, indexed by the names that the networks use.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Error, Result, Shape, Tensor};
use ltx2_kernels::CodeFormat;

use super::encoding::StoredEncoding;
use super::error::CheckpointError;
use super::gguf::GgufFile;
use super::range::TensorShapes;
use super::reader::ReadTarget;
use super::safetensors_file::SafetensorsFile;
use super::tensor_index::{StoredTensor, TensorEntry, TensorIndex, WeightEncoding};
use crate::quantized::{QuantizedWeight, WeightScale};

/// A stored tensor as the networks see it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TensorMapping {
    /// Name that the networks use.
    pub(crate) name: String,
    /// Constant that the converter added to every element of the stored tensor.
    pub(crate) offset: f64,
}

impl From<String> for TensorMapping {
    fn from(name: String) -> Self {
        Self { name, offset: 0.0 }
    }
}

/// Open files and an index of their tensors.
#[derive(Default)]
pub(crate) struct TensorFiles {
    files: Vec<WeightFile>,
    index: TensorIndex,
    /// For errors: by name prefix, the file or folder that should hold such tensors.
    expected_paths: Vec<(String, PathBuf)>,
}

enum WeightFile {
    Safetensors(SafetensorsFile),
    Gguf(GgufFile),
}

impl WeightFile {
    fn path(&self) -> &Path {
        match self {
            Self::Safetensors(file) => file.path(),
            Self::Gguf(file) => file.path(),
        }
    }
}

impl TensorFiles {
    /// Adds those tensors of a safetensors file that `rename` maps to a name.
    pub(crate) fn add_safetensors(
        &mut self,
        path: &Path,
        rename: impl Fn(&str) -> Option<String>,
    ) -> std::result::Result<(), CheckpointError> {
        let file = SafetensorsFile::open(path)?;
        let stored = |(name, shape): (String, Vec<usize>)| {
            let encoding = file.encoding(&name);
            StoredTensor { name, shape, encoding }
        };
        let tensors: Vec<StoredTensor> = file.shapes().into_iter().map(stored).collect();
        self.files.push(WeightFile::Safetensors(file));
        self.insert_all(tensors, |name| rename(name).map(TensorMapping::from))
    }

    /// Adds those tensors of a GGUF file that `map` maps to a name.
    pub(crate) fn add_gguf(
        &mut self,
        file: GgufFile,
        map: impl Fn(&str) -> Option<TensorMapping>,
    ) -> std::result::Result<(), CheckpointError> {
        let tensors = file.tensors().map(|(name, tensor)| StoredTensor {
            name: name.clone(),
            shape: tensor.shape.clone(),
            encoding: tensor.quantized_bytes().map_or(StoredEncoding::Dense, StoredEncoding::Blocks),
        });
        let tensors = tensors.collect();
        self.files.push(WeightFile::Gguf(file));
        self.insert_all(tensors, map)
    }

    /// Sets the path that errors name for a missing tensor whose name starts with `prefix`. The longest prefix wins.
    pub(crate) fn expect_in(&mut self, prefix: &str, path: &Path) {
        self.expected_paths.push((prefix.into(), path.into()));
    }

    /// Removes all tensors for which `unwanted` returns true.
    pub(crate) fn remove(&mut self, unwanted: impl Fn(&str) -> bool) {
        self.index.remove(unwanted);
    }

    /// Indexes tensors of the last file.
    fn insert_all(
        &mut self,
        tensors: Vec<StoredTensor>,
        map: impl Fn(&str) -> Option<TensorMapping>,
    ) -> std::result::Result<(), CheckpointError> {
        tensors
            .into_iter()
            .try_for_each(|stored| map(&stored.name).map_or(Ok(()), |mapping| self.insert(mapping, stored)))
    }

    fn insert(&mut self, mapping: TensorMapping, stored: StoredTensor) -> std::result::Result<(), CheckpointError> {
        let file = self.files.len() - 1;
        match self.index.insert(mapping.name, TensorEntry { file, offset: mapping.offset, stored }) {
            None => Ok(()),
            Some(other) => {
                let path = self.files[file].path();
                let other_path = self.files[other.file].path().display();
                let reason = format!("tensor {} is also in {other_path}", other.stored.name);
                Err(CheckpointError::Folder { path: path.into(), reason })
            }
        }
    }

    /// Whether there is a tensor `name`.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.index.get(name).is_some()
    }

    /// The tensors by name.
    pub(crate) fn index(&self) -> &TensorIndex {
        &self.index
    }

    /// Path of the file of the tensor `name`, or of the file that should have it, if that is known.
    pub(crate) fn path_of(&self, name: &str) -> Option<&Path> {
        let matching = self.expected_paths.iter().filter(|(prefix, _)| name.starts_with(prefix));
        let expected = || matching.max_by_key(|(prefix, _)| prefix.len()).map(|(_, path)| path.as_path());
        let only = || match self.files.as_slice() {
            [file] => Some(file.path()),
            _ => None,
        };
        self.index.get(name).map(|entry| self.files[entry.file].path()).or_else(expected).or_else(only)
    }

    /// Shape of the tensor `name`, if there is one.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.index.get(name).map(|entry| entry.stored.shape.as_slice())
    }

    /// A file whose metadata declares a layer as quantised that it does not have, and the layer.
    pub(crate) fn unmatched_format(&self) -> Option<(&Path, &str)> {
        self.files.iter().find_map(|file| match file {
            WeightFile::Safetensors(file) => file.unmatched_format().map(|layer| (file.path(), layer)),
            WeightFile::Gguf(_) => None,
        })
    }

    /// Names and shapes of all tensors.
    pub(crate) fn shapes(&self) -> TensorShapes {
        self.index.iter().map(|(name, entry)| (name.clone(), entry.stored.shape.clone())).collect()
    }

    /// Bytes of device memory that the tensors selected by `wanted` take once they are loaded as `dtype`.
    pub(crate) fn loaded_bytes(&self, dtype: DType, wanted: impl Fn(&str) -> bool) -> usize {
        let size = |(name, entry): (&String, &TensorEntry)| {
            let StoredTensor { shape, encoding, .. } = &entry.stored;
            let elements: usize = shape.iter().product();
            // Only linear layers keep quantised weights. Embedding tables are dequantised.
            let linear = shape.len() == 2 && name.ends_with(".weight") && !name.ends_with("embed_tokens.weight");
            match encoding {
                StoredEncoding::Blocks(bytes) if linear => *bytes,
                StoredEncoding::Codes(_) if linear => elements,
                _ => elements * dtype.size_in_bytes(),
            }
        };
        self.index.iter().filter(|(name, _)| wanted(name)).map(size).sum()
    }

    /// Reads the tensor `name` as `dtype`, dequantised.
    ///
    /// # Errors
    /// If there is no such tensor, its shape is not `shape`, or its encoding is not supported. Errors carry the path of
    /// the file.
    pub(crate) fn tensor(&self, name: &str, shape: Option<&Shape>, dtype: DType, to: ReadTarget) -> Result<Tensor> {
        let entry = self.find(name, shape)?;
        let (file, stored) = (&self.files[entry.file], entry.stored.name.as_str());
        let read = || match (self.index.readable(name, entry)?, file) {
            (WeightEncoding::Codes { format, scale }, WeightFile::Safetensors(file)) => {
                self.codes((file, stored), format, scale, to)?.dequantize(dtype)
            }
            (_, WeightFile::Safetensors(file)) => file.tensor(stored, to)?.to_dtype(dtype),
            (_, WeightFile::Gguf(file)) if entry.offset == 0.0 => file.tensor(stored, to)?.to_dtype(dtype),
            (_, WeightFile::Gguf(file)) => {
                let original = (file.tensor(stored, to)?.to_dtype(DType::F32)? - entry.offset)?;
                original.to_dtype(dtype)
            }
        };
        read().map_err(|error| error.with_path(file.path()))
    }

    /// Reads the weight `name` in its quantised form; `None` if it is dense. Fails as [`TensorFiles::tensor`] does.
    pub(crate) fn quantized(&self, name: &str, shape: &Shape, to: ReadTarget) -> Result<Option<QuantizedWeight>> {
        let entry = self.find(name, Some(shape))?;
        let (file, stored) = (&self.files[entry.file], entry.stored.name.as_str());
        let read = || match (self.index.readable(name, entry)?, file) {
            (WeightEncoding::Codes { format, scale }, WeightFile::Safetensors(file)) => {
                self.codes((file, stored), format, scale, to).map(Some)
            }
            (WeightEncoding::Blocks, WeightFile::Gguf(file)) if entry.offset == 0.0 => {
                Ok(file.quantized(stored, to)?.map(|blocks| QuantizedWeight::Blocks(Arc::new(blocks))))
            }
            _ => Ok(None),
        };
        read().map_err(|error: Error| error.with_path(file.path()))
    }

    /// Reads the codes `stored` of a safetensors file with the scale of that name.
    fn codes(
        &self,
        (file, stored): (&SafetensorsFile, &str),
        format: CodeFormat,
        scale: Option<String>,
        to: ReadTarget,
    ) -> Result<QuantizedWeight> {
        let codes = file.tensor(stored, to)?;
        let scale = match scale {
            None => WeightScale::Uniform(1.0),
            Some(name) => {
                let scales = self.tensor(&name, None, DType::F32, ReadTarget { device: &Device::Cpu, ..to })?;
                match scales.elem_count() {
                    1 => WeightScale::Uniform(scales.flatten_all()?.get(0)?.to_scalar()?),
                    channels => {
                        let mut shape = vec![1; codes.rank()];
                        shape[0] = channels;
                        WeightScale::Channels(scales.reshape(shape)?.to_device(to.device)?)
                    }
                }
            }
        };
        Ok(QuantizedWeight::Codes { codes, format, scale })
    }

    fn find(&self, name: &str, shape: Option<&Shape>) -> Result<&TensorEntry> {
        let Some(entry) = self.index.get(name) else {
            let error = Error::CannotFindTensor { path: name.into() };
            return Err(match self.path_of(name) {
                Some(path) => error.with_path(path),
                None => error,
            });
        };
        match shape {
            Some(shape) if shape.dims() != entry.stored.shape => Err(Error::UnexpectedShape {
                msg: format!("shape mismatch for {name}"),
                expected: shape.clone(),
                got: Shape::from(entry.stored.shape.as_slice()),
            }
            .with_path(self.files[entry.file].path())),
            _ => Ok(entry),
        }
    }
}

impl std::fmt::Debug for TensorFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let files: Vec<&Path> = self.files.iter().map(WeightFile::path).collect();
        f.debug_struct("TensorFiles").field("files", &files).field("tensors", &self.index.len()).finish()
    }
}
