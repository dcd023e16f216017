//! GGUF files: the transformer alone, as converted for ComfyUI, and the text encoder, as llama.cpp has it.

mod header;
mod names;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Result, Tensor};
use memmap2::Mmap;
use serde_json::{Map, Value};

use header::Form;
use header::Header;
pub(super) use names::{gemma_config, gemma_name, transformer_name};

use super::CheckpointError;
use super::reader::{Span, To};

/// What a GGUF file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GgufKind {
    /// The diffusion transformer of both modalities.
    Transformer,
    /// Gemma 3's text model.
    TextEncoder,
    /// Something else, such as the image part of a text encoder.
    Other,
}

/// A GGUF file, open, with what its header says.
pub(super) struct Gguf {
    path: PathBuf,
    file: File,
    header: Header,
}

impl Gguf {
    /// Reads the header and checks that all tensors are within the file.
    pub(super) fn open(path: &Path) -> std::result::Result<Self, CheckpointError> {
        let io = |source| CheckpointError::Io { path: path.into(), source };
        let refuse = |reason: String| CheckpointError::Gguf { path: path.into(), reason };
        let file = File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.len() == 0 {
            return Err(refuse("it is empty".into()));
        }
        // SAFETY: read once here, and not changed while the server runs.
        let header = Header::parse(&unsafe { Mmap::map(&file) }.map_err(io)?).map_err(refuse)?;
        let parts = header.metadata.get("split.count").and_then(Value::as_u64).unwrap_or(1);
        if parts > 1 {
            return Err(refuse(format!("split.count is {parts}, but only a whole file is supported: join its parts")));
        }
        Ok(Self { path: path.into(), file, header })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Scalars, texts and short lists by their dotted names.
    pub(super) fn metadata(&self) -> &Map<String, Value> {
        &self.header.metadata
    }

    /// What it holds, by its architecture and its tensors' names.
    pub(super) fn kind(&self) -> GgufKind {
        let architecture = self.metadata().get("general.architecture").and_then(Value::as_str);
        let is_block = |name: &String| name.ends_with("transformer_blocks.0.audio_to_video_attn.to_q.weight");
        match architecture {
            Some("gemma3") => GgufKind::TextEncoder,
            _ if self.header.tensors.keys().any(is_block) => GgufKind::Transformer,
            _ => GgufKind::Other,
        }
    }

    /// The tensors by their names in the file.
    pub(super) fn tensors(&self) -> impl Iterator<Item = (&String, &header::Tensor)> {
        self.header.tensors.iter()
    }

    /// Shape of a tensor.
    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.header.tensors.get(name).map(|tensor| tensor.shape.as_slice())
    }

    /// A tensor, dequantised, in float32 or the dtype that it has in the file.
    pub(super) fn tensor(&self, name: &str, to: To) -> Result<Tensor> {
        let tensor = self.find(name)?;
        match tensor.form {
            Form::Dense(dtype) => to.reader.tensor(self.span(tensor), dtype, &tensor.shape, to.device),
            Form::Blocks(kind) => self.quantised(tensor, kind, to)?.dequantize(to.device),
        }
    }

    /// A tensor as its blocks; nothing if it has none.
    pub(super) fn blocks(&self, name: &str, to: To) -> Result<Option<QTensor>> {
        let tensor = self.find(name)?;
        match tensor.form {
            Form::Dense(_) => Ok(None),
            Form::Blocks(kind) => self.quantised(tensor, kind, to).map(Some),
        }
    }

    fn quantised(&self, tensor: &header::Tensor, kind: GgmlDType, to: To) -> Result<QTensor> {
        to.reader.blocks(self.span(tensor), kind, &tensor.shape, to.device)
    }

    fn span(&self, tensor: &header::Tensor) -> Span<'_> {
        Span { file: &self.file, at: tensor.bytes.start as u64 }
    }

    fn find(&self, name: &str) -> Result<&header::Tensor> {
        let missing = || candle_core::Error::CannotFindTensor { path: name.into() }.bt();
        self.header.tensors.get(name).ok_or_else(missing)
    }
}

/// What the GGUF file at `path` holds.
pub fn gguf_kind(path: &Path) -> std::result::Result<GgufKind, CheckpointError> {
    Gguf::open(path).map(|file| file.kind())
}
