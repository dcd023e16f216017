//! What can go wrong between a request and its frames.

mod shortage;

use std::path::PathBuf;

use ltx2_models::CheckpointError;
use ltx2_models::text_encoder::TokenizerError;
use ltx2_types::{Failure, FailureCode};

pub use shortage::Shortage;

/// An error of planning or running.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The folder is not a model set.
    #[error("{folder} is not a model set: {reason}")]
    ModelSet {
        /// The folder that was named.
        folder: PathBuf,
        /// What it lacks.
        reason: String,
    },
    /// A model file cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The tokenizer cannot be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The device that was asked for cannot be used.
    #[error("{0}")]
    Device(String),
    /// The device has too little memory for the run. The engine is unloaded, and can run something smaller.
    #[error("{0}")]
    OutOfMemory(Box<Shortage>),
    /// The device had a fault after which this process can compute nothing more on it.
    #[error("the GPU had a fault, after which only a new process can use it: {0}")]
    DeviceLost(String),
    /// A computation failed.
    #[error("computation failed: {}", ltx2_models::checkpoint::message(.0))]
    Tensor(#[from] candle_core::Error),
    /// The request does not fit the model.
    #[error("{0}")]
    Request(String),
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// An input could not be decoded.
    #[error(transparent)]
    Input(Failure),
    /// The output could not be written.
    #[error(transparent)]
    Output(Failure),
}

impl PipelineError {
    /// The computation's error in it, if it is one.
    pub(crate) fn tensor(&self) -> Option<&candle_core::Error> {
        match self {
            Self::Tensor(error) | Self::Checkpoint(CheckpointError::Tensor { source: error, .. }) => Some(error),
            _ => None,
        }
    }
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        let code = match &error {
            PipelineError::ModelSet { .. } | PipelineError::Checkpoint(_) | PipelineError::Tokenizer(_) => {
                FailureCode::Model
            }
            PipelineError::OutOfMemory(_) => FailureCode::OutOfMemory,
            PipelineError::DeviceLost(_) => FailureCode::DeviceLost,
            PipelineError::Device(_) | PipelineError::Tensor(_) => FailureCode::Internal,
            PipelineError::Request(_) => FailureCode::BadInput,
            PipelineError::Cancelled => FailureCode::Cancelled,
            PipelineError::Input(failure) | PipelineError::Output(failure) => return failure.clone(),
        };
        Failure::new(code, error.to_string())
    }
}
