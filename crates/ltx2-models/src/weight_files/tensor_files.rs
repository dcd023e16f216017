//! The tensors of one or several files, indexed by the names that the networks use.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Error, Result, Shape, Tensor};
use ltx2_kernels::CodeFormat;

use super::encoding::{StoredEncoding, format_with};
use super::error::CheckpointError;
use super::gguf::GgufFile;
use super::range::TensorShapes;
use super::reader::ReadTarget;
use super::safetensors_file::SafetensorsFile;
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
    index: BTreeMap<String, TensorEntry>,
    /// Indices of the files in which weights have scales.
    scaled_files: BTreeSet<usize>,
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
    encoding: StoredEncoding,
}

/// Why a tensor cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TensorProblem {
    Missing,
    /// A message that follows the name of the tensor.
    Invalid(String),
}

/// Encoding of a weight together with the tensors beside it.
enum WeightEncoding {
    Dense,
    Blocks,
    Codes {
        format: CodeFormat,
        /// Name of the scale, if there is one.
        scale: Option<String>,
    },
}

/// Names of a weight's scale and of the scale of its inputs, below the layer. Inputs are not quantised here, so the
/// latter has no effect.
const SCALES: [&str; 2] = ["weight_scale", "scale_weight"];
const WITHOUT_EFFECT: [&str; 3] = ["input_scale", "scale_input", "comfy_quant"];
/// Name of the tensor by which a file says that its weights have scales.
const SCALED_MARKER: &str = "scaled_fp8";

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
        if tensors.iter().any(|tensor| is_scale(&tensor.name)) {
            self.scaled_files.insert(self.files.len());
        }
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

    /// Names of all tensors.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.index.keys().map(String::as_str)
    }

    /// Path of the file of the tensor `name`, or of the file that should have it, if that is known.
    pub(crate) fn path_of(&self, name: &str) -> Option<&Path> {
        let matching = self.expected_paths.iter().filter(|(prefix, _)| name.starts_with(prefix));
        let expected = || matching.max_by_key(|(prefix, _)| prefix.len()).map(|(_, path)| path.as_path());
        self.index.get(name).map(|entry| self.files[entry.file].path()).or_else(expected)
    }

    /// Checks that the tensor `name` can be read in `shape`.
    ///
    /// # Errors
    /// A message that follows the name of the tensor.
    pub(crate) fn check(&self, name: &str, shape: &[usize]) -> std::result::Result<(), TensorProblem> {
        let Some(entry) = self.index.get(name) else {
            let mut beside = self.below(name.strip_suffix(".weight").unwrap_or(name));
            return Err(match beside.find_map(|(other, suffix)| Some((other, format_with(suffix)?))) {
                Some((other, format)) => TensorProblem::Invalid(format!(
                    "is quantised with {format}, as {other} says, which is not supported"
                )),
                None => TensorProblem::Missing,
            });
        };
        self.weight_encoding(name, entry)
            .map_err(|reason| TensorProblem::Invalid(format!("cannot be read: {reason}")))?;
        let found = &entry.stored.shape;
        if found != shape {
            let reason = format!("has shape {found:?}, but the architecture requires {shape:?}");
            return Err(TensorProblem::Invalid(reason));
        }
        Ok(())
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
        let read = || match (self.encoding(name, entry)?, file) {
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
        let read = || match (self.encoding(name, entry)?, file) {
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

    fn encoding(&self, name: &str, entry: &TensorEntry) -> Result<WeightEncoding> {
        self.weight_encoding(name, entry).map_err(|reason| Error::Msg(format!("tensor {name}: {reason}")))
    }

    /// Determines the encoding of the tensor `name` from its dtype and the tensors beside it.
    ///
    /// # Errors
    /// A message if the meaning of the tensor, or of one beside it, is not known.
    fn weight_encoding(&self, name: &str, entry: &TensorEntry) -> std::result::Result<WeightEncoding, String> {
        let (mut scale, mut has_input_scale) = (None, false);
        if let Some(layer) = name.strip_suffix(".weight") {
            for (other, suffix) in self.below(layer).filter(|(_, suffix)| !["weight", "bias"].contains(suffix)) {
                if SCALES.contains(&suffix) {
                    if let Some(first) = scale.replace(other) {
                        return Err(format!("it has two scales, {first} and {other}"));
                    }
                } else if WITHOUT_EFFECT.contains(&suffix) {
                    has_input_scale |= suffix != "comfy_quant";
                } else {
                    return Err(match format_with(suffix) {
                        Some(format) => {
                            format!("it is quantised with {format}, as {other} says, which is not supported")
                        }
                        None => format!("{other} beside it has no known meaning"),
                    });
                }
            }
        }
        let format = match &entry.stored.encoding {
            StoredEncoding::Unsupported(reason) => return Err(reason.clone()),
            StoredEncoding::Codes(format) => *format,
            dense_or_blocks => {
                return match scale {
                    Some(scale) => Err(format!("{scale} scales quantised weights, but the weight is not quantised")),
                    None if *dense_or_blocks == StoredEncoding::Dense => Ok(WeightEncoding::Dense),
                    None => Ok(WeightEncoding::Blocks),
                };
            }
        };
        match scale {
            None if format == CodeFormat::Int8 => Err("it is stored as I8 without a weight_scale".into()),
            None if name.ends_with(".weight") && (has_input_scale || self.scaled_files.contains(&entry.file)) => {
                Err("it is stored as float8 without a weight_scale, which other weights of the file have".into())
            }
            None => Ok(WeightEncoding::Codes { format, scale: None }),
            Some(scale) => {
                self.check_scale(scale, &entry.stored.shape)?;
                Ok(WeightEncoding::Codes { format, scale: Some(scale.into()) })
            }
        }
    }

    /// Checks that `scale` is a scalar or has a value per output channel of a weight of shape `weight`.
    fn check_scale(&self, scale: &str, weight: &[usize]) -> std::result::Result<(), String> {
        let StoredTensor { shape, encoding, .. } = &self.index[scale].stored;
        let elements: usize = shape.iter().product();
        let is_per_channel = shape.first() == weight.first() && Some(&elements) == weight.first();
        if *encoding != StoredEncoding::Dense {
            return Err(format!("its scale {scale} is not stored as a floating-point tensor (MXFP8?)"));
        }
        if elements != 1 && !is_per_channel {
            return Err(format!(
                "its scale {scale} has shape {shape:?}, but only a scalar or a value per output channel is supported \
                 (block-wise quantisation?)"
            ));
        }
        Ok(())
    }

    /// Whether the tensor `name` belongs to one of the weights `requested`, such as its scale.
    pub(crate) fn is_beside_any(&self, name: &str, requested: &TensorShapes) -> bool {
        name.rsplit_once('.').is_some_and(|(layer, suffix)| {
            (SCALES.contains(&suffix) || WITHOUT_EFFECT.contains(&suffix))
                && requested.contains_key(&format!("{layer}.weight"))
        })
    }

    /// Names of the tensors below `layer`, with and without the layer.
    fn below<'a>(&'a self, layer: &str) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let prefix = format!("{layer}.");
        let length = prefix.len();
        let names = self.index.range(prefix.clone()..).map(|(name, _)| name.as_str());
        names.take_while(move |name| name.starts_with(&prefix)).map(move |name| (name, &name[length..]))
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

/// Whether the tensor `name` has no effect wherever it is.
pub(crate) fn has_no_effect(name: &str) -> bool {
    name.rsplit('.').next() == Some(SCALED_MARKER)
}

/// Whether the tensor `name` says that the weights of its file have scales.
fn is_scale(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    last == SCALED_MARKER || SCALES.contains(&last)
}

impl std::fmt::Debug for TensorFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let files: Vec<&Path> = self.files.iter().map(WeightFile::path).collect();
        f.debug_struct("TensorFiles").field("files", &files).field("tensors", &self.index.len()).finish()
    }
}
