//! What can go wrong between a request and its frames.

use std::path::PathBuf;

use ltx2_models::CheckpointError;
use ltx2_models::text_encoder::TokenizerError;
use ltx2_types::{Failure, FailureCode};

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
    /// A computation failed.
    #[error("computation failed: {}", ltx2_models::checkpoint::message(.0))]
    Tensor(#[from] candle_core::Error),
    /// The request does not fit the model.
    #[error("{0}")]
    Request(String),
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// The result could not be handed over.
    #[error(transparent)]
    Output(Failure),
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        let code = match &error {
            PipelineError::ModelSet { .. } | PipelineError::Checkpoint(_) | PipelineError::Tokenizer(_) => {
                FailureCode::Model
            }
            PipelineError::Tensor(_) => FailureCode::Internal,
            PipelineError::Request(_) => FailureCode::BadInput,
            PipelineError::Cancelled => FailureCode::Cancelled,
            PipelineError::Output(failure) => return failure.clone(),
        };
        Failure::new(code, error.to_string())
    }
}
