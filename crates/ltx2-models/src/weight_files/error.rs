//! Errors of model files.

use std::path::PathBuf;

use crate::config::ConfigError;

/// Why a model file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file cannot be opened or read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// A file that is not what its name says.
    #[error("{path} is not a model file: {reason}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Description of the file, with a remedy.
        reason: &'static str,
    },
    /// Invalid or incomplete safetensors file.
    #[error("{path} is not a usable safetensors file: {reason}")]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// First problem found.
        reason: String,
    },
    /// Invalid JSON file.
    #[error("{path} is not valid JSON: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Position and kind of the error.
        source: serde_json::Error,
    },
    /// Invalid, incomplete or unsupported GGUF file.
    #[error("{path} is not a usable GGUF file: {reason}")]
    Gguf {
        /// The file.
        path: PathBuf,
        /// First problem found.
        reason: String,
    },
    /// A model folder with a missing or an ambiguous file.
    #[error("{path} is not a usable model folder: {reason}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// First problem found.
        reason: String,
    },
    /// The metadata lacks a key that every LTX-2 checkpoint has.
    #[error("{path} has no `{key}` in its metadata, so it is not an LTX-2 checkpoint")]
    MissingMetadata {
        /// The file.
        path: PathBuf,
        /// The missing metadata key.
        key: &'static str,
    },
    /// Neither a file of the checkpoint nor a published model describes a network.
    #[error(
        "{path} has no `config` for the {component} in its metadata, and its transformer is not that of a published \
         LTX-2 model: take files with `config`"
    )]
    UnknownArchitecture {
        /// The file with the network.
        path: PathBuf,
        /// Name of the network.
        component: &'static str,
    },
    /// Unsupported architecture.
    #[error("{path}: {source}")]
    Config {
        /// The file.
        path: PathBuf,
        /// Names the value.
        source: ConfigError,
    },
    /// The file is not a LoRA, or is a LoRA of another model.
    #[error("the LoRA {path} does not fit: {reason}")]
    Lora {
        /// The file.
        path: PathBuf,
        /// First mismatch found.
        reason: String,
    },
    /// A tensor does not match the architecture, or its encoding is not supported.
    #[error("{path}: tensor {tensor} {reason}")]
    Weight {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// First problem found.
        reason: String,
    },
    /// A tensor is missing, has an unexpected shape or cannot be read.
    #[error("{path}: {}", message(source))]
    Tensor {
        /// The file.
        path: PathBuf,
        /// Error of candle, which names the tensor.
        source: candle_core::Error,
    },
}

/// Message of a candle error without its backtrace.
pub fn message(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => message(inner),
        other => other.to_string(),
    }
}
