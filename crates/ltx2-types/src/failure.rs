//! Failures of a generation.

use serde::{Deserialize, Serialize};

/// Reason why a generation ended without a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Failure {
    /// Kind of failure, for programs.
    pub code: FailureCode,
    /// Message for people: the request, the error and a remedy.
    pub message: String,
}

impl Failure {
    /// Returns a failure of kind `code`.
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Returns the failure of a cancelled task.
    pub fn cancelled() -> Self {
        Self::new(FailureCode::Cancelled, "cancelled")
    }
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::IntoStaticStr, strum::EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum FailureCode {
    /// The task was cancelled.
    Cancelled,
    /// An input file is missing, damaged or unusable.
    BadInput,
    /// A model file is missing, damaged or of an unsupported kind.
    Model,
    /// The GPU or the machine has too little memory.
    OutOfMemory,
    /// The GPU had a fault that this process cannot recover from.
    DeviceLost,
    /// The output file could not be written.
    Output,
    /// Any other error.
    Internal,
}

impl FailureCode {
    /// Returns the name in the database.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether the engine process must be restarted.
    pub fn is_fatal(self) -> bool {
        self == Self::DeviceLost
    }
}
