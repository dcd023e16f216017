//! Waiting for the end of a task.

use ltx2_store::{Store, TaskId, TaskRecord, TaskStatus};

use crate::error::ApiError;
use crate::state::Service;

impl Service {
    /// Waits until a task has ended and returns it; `None` if it does not exist or is deleted meanwhile.
    ///
    /// If the future is dropped before, for example because the client has disconnected, the task is cancelled, unless
    /// `keep` is set.
    ///
    /// # Errors
    /// If the store fails or the server shuts down.
    pub(crate) async fn wait(&self, id: &TaskId, keep: bool) -> Result<Option<TaskRecord>, ApiError> {
        let mut guard = CancelOnDrop { store: self.store.clone(), task: (!keep).then(|| id.clone()) };
        let mut changes = self.store.changes();
        loop {
            let record = self.store.task(id).await?;
            let is_open =
                |record: &TaskRecord| matches!(record.status, TaskStatus::Queued { .. } | TaskStatus::Running { .. });
            if !record.as_ref().is_some_and(is_open) {
                guard.task = None;
                return Ok(record);
            }
            self.closing.run_until_cancelled(changes.task(id)).await.ok_or_else(ApiError::shutting_down)?;
        }
    }
}

/// Cancels a task when dropped.
struct CancelOnDrop {
    store: Store,
    task: Option<TaskId>,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.task.take(), tokio::runtime::Handle::try_current()) else { return };
        let store = self.store.clone();
        runtime.spawn(async move {
            tracing::info!(task = %id, "task {id} cancelled: its client stopped waiting");
            if let Err(error) = store.cancel(&id).await {
                tracing::warn!(task = %id, %error, "cannot cancel task {id}: {error}");
            }
        });
    }
}
