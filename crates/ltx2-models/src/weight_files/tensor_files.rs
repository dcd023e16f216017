//! The tensors of one or several files, indexed by the names that the networks use.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Error, Result, Shape, Tensor};
use ltx2_kernels::decode_e4m3;

use super::error::CheckpointError;
use super::gguf::GgufFile;
use super::range::TensorShapes;
use super::reader::ReadTarget;
use super::safetensors_file::SafetensorsFile;
use crate::quantized::QuantizedWeight;

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
    index: BTreeMap<String, TensorEntry>,
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

/// An indexed tensor.
struct TensorEntry {
    /// Index of its file.
    file: usize,
    offset: f64,
    stored: StoredTensor,
}

/// Header facts of a tensor, the same for both file formats.
struct StoredTensor {
    /// Name in the file.
    name: String,
    shape: Vec<usize>,
    /// Size of the quantised form; `None` for a dense tensor.
    quantized_bytes: Option<usize>,
}

impl TensorFiles {
    /// Adds those tensors of a safetensors file that `rename` maps to a name.
    pub(crate) fn add_safetensors(
        &mut self,
        path: &Path,
        rename: impl Fn(&str) -> Option<String>,
    ) -> std::result::Result<(), CheckpointError> {
        let file = SafetensorsFile::open(path)?;
        let stored = |(name, range): (&String, &super::range::TensorRange)| StoredTensor {
            name: name.clone(),
            shape: range.shape.clone(),
            quantized_bytes: range.quantized_bytes(),
        };
        let tensors = file.tensors().map(stored).collect();
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
            quantized_bytes: tensor.quantized_bytes(),
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
        self.index.retain(|name, _| !unwanted(name));
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
        self.index.contains_key(name)
    }

    /// Names and shapes of all tensors.
    pub(crate) fn shapes(&self) -> TensorShapes {
        self.index.iter().map(|(name, entry)| (name.clone(), entry.stored.shape.clone())).collect()
    }

    /// Bytes of device memory that the tensors selected by `wanted` take once they are loaded as `dtype`.
    pub(crate) fn loaded_bytes(&self, dtype: DType, wanted: impl Fn(&str) -> bool) -> usize {
        let size = |(name, entry): (&String, &TensorEntry)| {
            let StoredTensor { shape, quantized_bytes, .. } = &entry.stored;
            let elements: usize = shape.iter().product();
            // Only linear layers keep quantised weights. Embedding tables are dequantised.
            let linear = shape.len() == 2 && name.ends_with(".weight") && !name.ends_with("embed_tokens.weight");
            quantized_bytes.filter(|_| linear).unwrap_or(elements * dtype.size_in_bytes())
        };
        self.index.iter().filter(|(name, _)| wanted(name)).map(size).sum()
    }

    /// Reads the tensor `name` as `dtype`, dequantised.
    ///
    /// # Errors
    /// If there is no such tensor, or its shape is not `shape`. Errors carry the path of the file.
    pub(crate) fn tensor(&self, name: &str, shape: Option<&Shape>, dtype: DType, to: ReadTarget) -> Result<Tensor> {
        let entry = self.find(name, shape)?;
        let (file, stored) = (&self.files[entry.file], entry.stored.name.as_str());
        let read = || match file {
            WeightFile::Safetensors(file) => self.scaled(name, (file, stored), dtype, to),
            WeightFile::Gguf(file) if entry.offset == 0.0 => file.tensor(stored, to)?.to_dtype(dtype),
            WeightFile::Gguf(file) => {
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
        let read = || match file {
            WeightFile::Gguf(file) if entry.offset == 0.0 => {
                Ok(file.quantized(stored, to)?.map(|blocks| QuantizedWeight::Blocks(Arc::new(blocks))))
            }
            WeightFile::Safetensors(file) if entry.stored.quantized_bytes.is_some() => {
                let codes = file.tensor(stored, to)?;
                let scale = self.scale(name, to)?.unwrap_or(1.0);
                Ok(Some(QuantizedWeight::Float8 { codes, scale }))
            }
            _ => Ok(None),
        };
        read().map_err(|error: Error| error.with_path(file.path()))
    }

    /// Reads the tensor `stored` of a safetensors file. If there is a `weight_scale` next to it (float8), multiplies by
    /// the scale in float32 and rounds once.
    fn scaled(
        &self,
        name: &str,
        (file, stored): (&SafetensorsFile, &str),
        dtype: DType,
        to: ReadTarget,
    ) -> Result<Tensor> {
        let (weight, scale) = (file.tensor(stored, to)?, self.scale(name, to)?);
        match scale {
            _ if file.is_float8(stored) => decode_e4m3(&weight, scale.unwrap_or(1.0), dtype),
            Some(scale) => (weight.to_dtype(DType::F32)? * f64::from(scale))?.to_dtype(dtype),
            None => weight.to_dtype(dtype),
        }
    }

    /// Reads the scalar `*.weight_scale` of the weight `*.weight`, if there is one.
    fn scale(&self, name: &str, to: ReadTarget) -> Result<Option<f32>> {
        let scale = name.strip_suffix(".weight").map(|layer| format!("{layer}.weight_scale"));
        let Some(scale) = scale.filter(|scale| self.contains(scale)) else { return Ok(None) };
        let values = self.tensor(&scale, None, DType::F32, ReadTarget { device: &Device::Cpu, ..to })?;
        match values.flatten_all()?.to_vec1::<f32>()?[..] {
            [scale] => Ok(Some(scale)),
            ref values => {
                candle_core::bail!(
                    "{scale} has {} elements, but only a single scale per weight is supported",
                    values.len()
                )
            }
        }
    }

    fn find(&self, name: &str, shape: Option<&Shape>) -> Result<&TensorEntry> {
        let Some(entry) = self.index.get(name) else {
            let error = Error::CannotFindTensor { path: name.into() };
            let matching = self.expected_paths.iter().filter(|(prefix, _)| name.starts_with(prefix));
            return Err(match matching.max_by_key(|(prefix, _)| prefix.len()) {
                Some((_, path)) => error.with_path(path),
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
