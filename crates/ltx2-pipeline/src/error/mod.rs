//! Errors of planning and running.

mod feasible;
mod shortage;

use std::path::PathBuf;

use ltx2_models::CheckpointError;
use ltx2_models::checkpoint::message;
use ltx2_models::text_encoder::TokenizerError;
use ltx2_types::{Failure, FailureCode, FieldError};

use crate::device::DeviceError;

pub use feasible::FeasibleRequest;
pub use shortage::Shortage;

/// Result of planning or running.
pub(crate) type Result<T> = std::result::Result<T, PipelineError>;

/// An error of planning or running.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The folder is not a model set.
    #[error("{folder} is not a model set: {reason}")]
    ModelSet {
        /// The folder.
        folder: PathBuf,
        /// Description of the missing or ambiguous files.
        reason: String,
    },
    /// A model file cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The tokenizer cannot be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The requested device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The device has too little memory for the run. The engine is unloaded and can run smaller requests.
    #[error("{0}")]
    OutOfMemory(Box<Shortage>),
    /// The device had a fault after which this process cannot use it.
    #[error("the GPU had a fault and must be used by a new process: {0}")]
    DeviceLost(String),
    /// A computation failed.
    #[error("computation failed: {}", message(.0))]
    Tensor(#[from] candle_core::Error),
    /// A field of the request is not supported by the model set.
    #[error(transparent)]
    Request(#[from] FieldError),
    /// A programming error, not the client's.
    #[error("internal error: {0}")]
    Internal(String),
    /// The run was cancelled.
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
    /// Returns the tensor error that caused this error, if any.
    pub(crate) fn tensor(&self) -> Option<&candle_core::Error> {
        match self {
            Self::Tensor(error) | Self::Checkpoint(CheckpointError::Tensor { source: error, .. }) => Some(error),
            _ => None,
        }
    }

    fn code(&self) -> FailureCode {
        match self {
            Self::ModelSet { .. } | Self::Checkpoint(_) | Self::Tokenizer(_) => FailureCode::Model,
            Self::OutOfMemory(_) => FailureCode::OutOfMemory,
            Self::DeviceLost(_) => FailureCode::DeviceLost,
            Self::Device(_) | Self::Tensor(_) | Self::Internal(_) => FailureCode::Internal,
            Self::Request(_) => FailureCode::BadInput,
            Self::Cancelled => FailureCode::Cancelled,
            Self::Input(failure) | Self::Output(failure) => failure.code,
        }
    }
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::Input(failure) | PipelineError::Output(failure) => failure,
            error => Failure::new(error.code(), error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_errors_are_not_blamed_on_the_client() {
        let failure = Failure::from(PipelineError::Internal("the plan has no stage".into()));
        assert_eq!(failure.code, FailureCode::Internal);
        assert_eq!(failure.message, "internal error: the plan has no stage");
    }

    #[test]
    fn failures_of_inputs_and_outputs_keep_their_code() {
        let failure = Failure::new(FailureCode::BadInput, "image input 0 is damaged");
        assert_eq!(Failure::from(PipelineError::Input(failure.clone())), failure);
    }
}
