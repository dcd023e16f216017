//! Cancelling and deleting tasks.

use ltx2_store::{Removal, TaskId, TaskStatus};

use crate::error::ApiError;
use crate::state::Service;

/// Effect of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removed {
    /// The queued task is cancelled.
    Cancelled,
    /// The running task stops after its current step.
    Stopping,
    /// The completed task is deleted with its files.
    CompletedDeleted,
    /// The failed task is deleted.
    FailedDeleted,
}

impl Service {
    /// Cancels a task that has not ended, or deletes one that has; `None` if it does not exist.
    pub(crate) async fn remove(&self, id: &TaskId) -> Result<Option<Removed>, ApiError> {
        let Some(before) = self.store.task(id).await? else { return Ok(None) };
        let Some(removal) = self.store.remove(id).await? else { return Ok(None) };
        tracing::info!(task = %id, "task {id} removed by a client: {removal:?}");
        Ok(Some(match removal {
            Removal::Cancelled => Removed::Cancelled,
            Removal::Stopping => Removed::Stopping,
            Removal::Deleted if matches!(before.status, TaskStatus::Failed(_)) => Removed::FailedDeleted,
            Removal::Deleted => Removed::CompletedDeleted,
        }))
    }
}
