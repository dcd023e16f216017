//! Outcomes of runs.

use ltx2_store::{Completion, StoreError};
use ltx2_types::{Failure, FailureCode};

/// Outcome of a run, as far as the engine decides it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The output files have their names.
    Completed(Completion),
    /// The engine reported a failure.
    Failed(Failure),
    /// The engine exited during the run.
    EngineCrashed(Failure),
}

/// Reason for which a run was stopped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// The worker shuts down.
    Shutdown,
    /// A client cancelled the task.
    Cancelled,
    /// The task was reclaimed.
    LeaseLost,
}

/// Returns the failure of a task whose result could not be stored, without internal details.
pub(crate) fn storage_failure(error: &StoreError) -> Failure {
    let message = match error {
        StoreError::DiskFull(_) => "the result could not be stored: the server's disk is full",
        _ => "the result could not be stored; the server's log says more",
    };
    Failure::new(FailureCode::Output, message)
}
