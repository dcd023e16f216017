//! Why a model file cannot be used.

use std::path::PathBuf;

/// Why a model file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Not there or not readable.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Not a whole safetensors file.
    #[error("{path} is not a usable safetensors file: {reason} (truncated, or of another kind?)")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Not a whole GGUF file, or one with something in it that is not read.
    #[error("{path} is not a usable GGUF file: {reason}")]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A folder that lacks a file, or has one too many.
    #[error("{path} is not a usable model folder: {reason}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The metadata lacks what an LTX-2 checkpoint has.
    #[error("{path} has no `{key}` in its metadata, so it is not an LTX-2 checkpoint")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The missing metadata key.
        key: &'static str,
    },
    /// Its architecture is not one of ours.
    #[error("{path}: {source}")]
    Config {
        /// The file.
        path: PathBuf,
        /// Which value.
        source: crate::ConfigError,
    },
    /// Not an adapter, or one for another model.
    #[error("the LoRA {path} does not fit: {reason}")]
    Lora {
        /// The file.
        path: PathBuf,
        /// Why it is refused.
        reason: String,
    },
    /// A tensor is missing or has another shape.
    #[error("{path}: {}", message(source))]
    Tensor {
        /// The file.
        path: PathBuf,
        /// Which tensor.
        source: candle_core::Error,
    },
}

/// What a tensor error says, without the backtrace that candle may add to it.
pub fn message(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => message(inner),
        other => other.to_string(),
    }
}
