//! An open safetensors file.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::{DType, Error, Result, Tensor};
use ltx2_kernels::CodeFormat;
use safetensors::Dtype;
use serde_json::Value;

use super::encoding::StoredEncoding;
use super::error::CheckpointError;
use super::file_span::FileSpan;
use super::layer_format::LayerFormat;
use super::range::{TensorRange, TensorShapes};
use super::reader::ReadTarget;
use super::safetensors_header::{read_metadata, tensor_ranges};

/// Metadata key of ComfyUI's description of quantised layers.
const QUANTIZATION_KEY: &str = "_quantization_metadata";
/// Suffix of the tensors that describe a quantised layer, and the most bytes of one.
const LAYER_FORMAT: &str = ".comfy_quant";
const MAX_LAYER_FORMAT: usize = 4096;
/// Prefixes that layer names in [`QUANTIZATION_KEY`] may lack.
const OMITTED_PREFIXES: [&str; 4] = ["", "model.diffusion_model.", "diffusion_model.", "model."];

/// A safetensors file and the tensor ranges of its header.
pub(crate) struct SafetensorsFile {
    path: PathBuf,
    file: File,
    tensors: BTreeMap<String, TensorRange>,
    /// Declared formats by layer.
    formats: BTreeMap<String, LayerFormat>,
    /// A declared layer that the file does not have.
    unmatched_format: Option<String>,
}

impl SafetensorsFile {
    /// Opens a file, reads its header and checks that all tensors lie within the file.
    pub(crate) fn open(path: &Path) -> std::result::Result<Self, CheckpointError> {
        let tensors = tensor_ranges(path)?;
        let file = File::open(path).map_err(|source| CheckpointError::Io { path: path.into(), source })?;
        let mut opened = Self { path: path.into(), file, tensors, formats: BTreeMap::new(), unmatched_format: None };
        opened.read_formats().map_err(|reason| CheckpointError::Safetensors { path: path.into(), reason })?;
        Ok(opened)
    }

    /// Reads the declared formats of the layers: the metadata, then the tensors, which win.
    fn read_formats(&mut self) -> std::result::Result<(), String> {
        let metadata = read_metadata(&self.path).map_err(|error| error.to_string())?;
        let declared: Value = match metadata.get(QUANTIZATION_KEY) {
            None => Value::Null,
            Some(text) => serde_json::from_str(text)
                .map_err(|error| format!("`{QUANTIZATION_KEY}` in its metadata is not JSON: {error}"))?,
        };
        for (layer, format) in declared.get("layers").and_then(Value::as_object).into_iter().flatten() {
            let stored = OMITTED_PREFIXES.iter().map(|prefix| format!("{prefix}{layer}"));
            match stored.into_iter().find(|layer| self.tensors.contains_key(&format!("{layer}.weight"))) {
                Some(stored) => drop(self.formats.insert(stored, LayerFormat::new(format.clone()))),
                None => self.unmatched_format = Some(layer.clone()),
            }
        }
        for (name, range) in &self.tensors {
            let Some(layer) = name.strip_suffix(LAYER_FORMAT) else { continue };
            let mut bytes = vec![0; range.shape.iter().product()];
            if range.dtype != Dtype::U8 || bytes.len() > MAX_LAYER_FORMAT {
                bytes.clear();
            }
            let span = FileSpan { file: &self.file, offset: range.offset };
            span.read(&mut bytes).map_err(|error| format!("{name} cannot be read: {error}"))?;
            self.formats.insert(layer.into(), LayerFormat::from_bytes(&bytes));
        }
        Ok(())
    }

    /// Path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Tensor shapes by name.
    pub(crate) fn shapes(&self) -> TensorShapes {
        self.tensors.iter().map(|(name, range)| (name.clone(), range.shape.clone())).collect()
    }

    /// Shape of the tensor `name`, which the file must have.
    pub(crate) fn shape(&self, name: &str) -> &[usize] {
        &self.tensors[name].shape
    }

    /// A layer that the metadata declares as quantised and the file does not have.
    pub(super) fn unmatched_format(&self) -> Option<&str> {
        self.unmatched_format.as_deref()
    }

    /// Encoding of the tensor `name`, which the file must have.
    pub(super) fn encoding(&self, name: &str) -> StoredEncoding {
        let format = name.strip_suffix(".weight").and_then(|layer| self.formats.get(layer));
        StoredEncoding::new(self.tensors[name].dtype, format)
    }

    /// Dtype of the tensor `name`, which the file must have, if [`SafetensorsFile::float_tensor`] cannot read it.
    pub(crate) fn unreadable_dtype(&self, name: &str) -> Option<String> {
        let dtype = self.tensors[name].dtype;
        match StoredEncoding::new(dtype, None) {
            StoredEncoding::Dense | StoredEncoding::Codes(CodeFormat::E4m3 | CodeFormat::E5m2) => None,
            _ => Some(format!("{dtype:?}")),
        }
    }

    /// Reads the floating-point tensor `name`, a float8 one as bfloat16, which has all values of float8.
    pub(crate) fn float_tensor(&self, name: &str, to: ReadTarget) -> Result<Tensor> {
        let tensor = self.tensor(name, to)?;
        match StoredEncoding::new(self.tensors[name].dtype, None) {
            StoredEncoding::Codes(format) => format.decode(&tensor, 1.0, DType::BF16),
            _ => Ok(tensor),
        }
    }

    /// Reads the tensor `name` in its stored dtype; 8-bit codes as U8.
    pub(crate) fn tensor(&self, name: &str, to: ReadTarget) -> Result<Tensor> {
        let range = self.tensors.get(name).ok_or_else(|| Error::CannotFindTensor { path: name.into() }.bt())?;
        let dtype = match range.dtype {
            Dtype::F8_E4M3 | Dtype::F8_E5M2 | Dtype::I8 => DType::U8,
            other => DType::try_from(other)?,
        };
        to.reader.tensor(FileSpan { file: &self.file, offset: range.offset }, dtype, &range.shape, to.device)
    }
}
