//! The tensors of one or several files under the names that the networks ask for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Error, Result, Shape, Tensor};
use ltx2_kernels::decode_e4m3;

use super::gguf::Gguf;
use super::reader::To;
use super::safetensors_file::SafetensorsFile;
use super::{CheckpointError, TensorShapes};
use crate::QuantizedWeight;

/// What a tensor of a file is for us.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    /// The name that networks ask for.
    pub name: String,
    /// What was added to every value when the file was made.
    pub added: f64,
}

impl From<String> for Found {
    fn from(name: String) -> Self {
        Self { name, added: 0.0 }
    }
}

/// Open files and what is where.
#[derive(Default)]
pub(super) struct Files {
    files: Vec<File>,
    index: BTreeMap<String, Stored>,
    /// By the beginning of a name, the file or folder where such a tensor belongs, for messages.
    homes: Vec<(String, PathBuf)>,
}

enum File {
    Safetensors(SafetensorsFile),
    Gguf(Gguf),
}

impl File {
    fn path(&self) -> &Path {
        match self {
            Self::Safetensors(file) => file.path(),
            Self::Gguf(file) => file.path(),
        }
    }
}

/// A tensor's place.
struct Stored {
    file: usize,
    /// In the file.
    name: String,
    shape: Vec<usize>,
    /// Bytes of what a linear layer keeps of it, if that is packed.
    packed: Option<usize>,
    added: f64,
}

impl Files {
    /// Adds the tensors of a safetensors file for which `name` has a name.
    pub(super) fn add_safetensors(
        &mut self,
        path: &Path,
        name: impl Fn(&str) -> Option<String>,
    ) -> std::result::Result<(), CheckpointError> {
        let file = SafetensorsFile::open(path)?;
        let tensors: Vec<_> =
            file.tensors().map(|(stored, t)| (stored.clone(), t.shape.clone(), t.packed_bytes())).collect();
        self.files.push(File::Safetensors(file));
        self.insert_all(tensors, |stored| name(stored).map(Found::from))
    }

    /// Adds the tensors of a GGUF file for which `name` has a name.
    pub(super) fn add_gguf(
        &mut self,
        file: Gguf,
        name: impl Fn(&str) -> Option<Found>,
    ) -> std::result::Result<(), CheckpointError> {
        let tensors: Vec<_> =
            file.tensors().map(|(stored, t)| (stored.clone(), t.shape.clone(), t.packed_bytes())).collect();
        self.files.push(File::Gguf(file));
        self.insert_all(tensors, name)
    }

    /// Tensors whose names begin so belong to `home`.
    pub(super) fn set_home(&mut self, prefix: &str, home: &Path) {
        self.homes.push((prefix.into(), home.into()));
    }

    /// Forgets the tensors that `unwanted` names.
    pub(super) fn remove(&mut self, unwanted: impl Fn(&str) -> bool) {
        self.index.retain(|name, _| !unwanted(name));
    }

    /// Adds those of the last file's tensors for which `name` has a name.
    fn insert_all(
        &mut self,
        tensors: Vec<(String, Vec<usize>, Option<usize>)>,
        name: impl Fn(&str) -> Option<Found>,
    ) -> std::result::Result<(), CheckpointError> {
        tensors.into_iter().try_for_each(|tensor| name(&tensor.0).map_or(Ok(()), |found| self.insert(found, tensor)))
    }

    fn insert(
        &mut self,
        found: Found,
        (name, shape, packed): (String, Vec<usize>, Option<usize>),
    ) -> std::result::Result<(), CheckpointError> {
        let file = self.files.len() - 1;
        let stored = Stored { file, name, shape, packed, added: found.added };
        match self.index.insert(found.name, stored) {
            None => Ok(()),
            Some(other) => {
                let path = self.files[file].path();
                let reason = format!("{} is also in {}", other.name, self.files[other.file].path().display());
                Err(CheckpointError::Folder { path: path.into(), reason })
            }
        }
    }

    /// Whether there is a tensor called `name`.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    /// Names and shapes of all tensors.
    pub(super) fn shapes(&self) -> TensorShapes {
        self.index.iter().map(|(name, stored)| (name.clone(), stored.shape.clone())).collect()
    }

    /// Bytes that the tensors which `wanted` names take once they are loaded as `dtype`.
    pub(super) fn loaded_bytes(&self, dtype: DType, wanted: impl Fn(&str) -> bool) -> usize {
        let size = |(name, stored): (&String, &Stored)| {
            let elements: usize = stored.shape.iter().product();
            // Weights stay packed in linear layers alone, not in tables that are looked up.
            let linear = stored.shape.len() == 2 && name.ends_with(".weight") && !name.ends_with("embed_tokens.weight");
            stored.packed.filter(|_| linear).unwrap_or(elements * dtype.size_in_bytes())
        };
        self.index.iter().filter(|(name, _)| wanted(name)).map(size).sum()
    }

    /// The tensor `name` as `dtype`; of `shape`, if given.
    pub(super) fn tensor(&self, name: &str, shape: Option<&Shape>, dtype: DType, to: To) -> Result<Tensor> {
        let stored = self.find(name, shape)?;
        let file = &self.files[stored.file];
        let read = || match file {
            File::Safetensors(file) => self.scaled(name, (file, &stored.name), dtype, to),
            File::Gguf(file) if stored.added == 0.0 => file.tensor(&stored.name, to)?.to_dtype(dtype),
            File::Gguf(file) => {
                let original = (file.tensor(&stored.name, to)?.to_dtype(DType::F32)? - stored.added)?;
                original.to_dtype(dtype)
            }
        };
        read().map_err(|error| error.with_path(file.path()))
    }

    /// The matrix `name` as it is stored; nothing if that is number by number.
    pub(super) fn packed(&self, name: &str, shape: &Shape, to: To) -> Result<Option<QuantizedWeight>> {
        let stored = self.find(name, Some(shape))?;
        let file = &self.files[stored.file];
        let read = || match file {
            File::Gguf(gguf) if stored.added == 0.0 => {
                Ok(gguf.blocks(&stored.name, to)?.map(|blocks| QuantizedWeight::Blocks(Arc::new(blocks))))
            }
            File::Safetensors(file) if stored.packed.is_some() => {
                let codes = file.tensor(&stored.name, to)?;
                let scale = self.scale(name, to)?.unwrap_or(1.0);
                Ok(Some(QuantizedWeight::Float8 { codes, scale }))
            }
            _ => Ok(None),
        };
        read().map_err(|error: Error| error.with_path(file.path()))
    }

    /// What a safetensors file has under `stored`: as it is, or, with a `weight_scale` beside it (float8), scaled in
    /// float32 and rounded once.
    fn scaled(&self, name: &str, (file, stored): (&SafetensorsFile, &str), dtype: DType, to: To) -> Result<Tensor> {
        let (weight, scale) = (file.tensor(stored, to)?, self.scale(name, to)?);
        match scale {
            _ if file.is_float8(stored) => decode_e4m3(&weight, scale.unwrap_or(1.0), dtype),
            Some(scale) => (weight.to_dtype(DType::F32)? * f64::from(scale))?.to_dtype(dtype),
            None => weight.to_dtype(dtype),
        }
    }

    /// The `weight_scale` beside the weight `name`.
    fn scale(&self, name: &str, to: To) -> Result<Option<f32>> {
        let scale = name.strip_suffix(".weight").map(|layer| format!("{layer}.weight_scale"));
        let Some(scale) = scale.filter(|scale| self.contains(scale)) else { return Ok(None) };
        let values = self.tensor(&scale, None, DType::F32, To { device: &Device::Cpu, ..to })?;
        match values.flatten_all()?.to_vec1::<f32>()?[..] {
            [scale] => Ok(Some(scale)),
            ref values => candle_core::bail!("{scale} has {} values, but a weight has one scale", values.len()),
        }
    }

    fn find(&self, name: &str, shape: Option<&Shape>) -> Result<&Stored> {
        let Some(stored) = self.index.get(name) else {
            let error = Error::CannotFindTensor { path: name.into() };
            let homes = self.homes.iter().filter(|(prefix, _)| name.starts_with(prefix));
            let home = homes.max_by_key(|(prefix, _)| prefix.len());
            return Err(match home {
                Some((_, home)) => error.with_path(home),
                None => error,
            });
        };
        match shape {
            Some(shape) if shape.dims() != stored.shape => Err(Error::UnexpectedShape {
                msg: format!("shape mismatch for {name}"),
                expected: shape.clone(),
                got: Shape::from(stored.shape.as_slice()),
            }
            .with_path(self.files[stored.file].path())),
            _ => Ok(stored),
        }
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let files: Vec<&Path> = self.files.iter().map(File::path).collect();
        f.debug_struct("Files").field("files", &files).field("tensors", &self.index.len()).finish()
    }
}
