//! Cancellation and deletion of tasks.

use ltx2_types::TaskId;

use crate::spawn::to_completion;
use crate::sqlite::Cancelled;
use crate::{Store, StoreError};

/// Outcome of a cancellation or deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The task was queued and has failed as cancelled.
    Cancelled,
    /// The task runs and will fail as cancelled after its current step.
    Stopping,
    /// The task had ended and was deleted with its files.
    Deleted,
}

impl Store {
    /// Cancels an open task or deletes an ended one; `None` if there is no such task.
    ///
    /// # Errors
    /// [`StoreError::Referenced`] if an open task uses the result that would be deleted.
    pub async fn remove(&self, id: &TaskId) -> Result<Option<Removal>, StoreError> {
        match self.cancel(id).await? {
            Some(removal) => Ok(Some(removal)),
            None if self.delete(id).await? => Ok(Some(Removal::Deleted)),
            None => Ok(None),
        }
    }

    /// Cancels an open task; `None` if there is no such task or it has ended.
    pub async fn cancel(&self, id: &TaskId) -> Result<Option<Removal>, StoreError> {
        let (store, id) = (self.clone(), id.clone());
        to_completion(async move {
            Ok(match store.shared.database.cancel(&id).await? {
                Some(Cancelled::Queued(unused)) => {
                    store.remove_files(unused).await;
                    store.notify_queue(&id);
                    Some(Removal::Cancelled)
                }
                Some(Cancelled::Running) => {
                    store.notify_task(&id);
                    store.notify_signals(&id);
                    Some(Removal::Stopping)
                }
                None => None,
            })
        })
        .await
    }

    /// Deletes an ended task with its files. Returns whether there was such a task.
    ///
    /// # Errors
    /// [`StoreError::Referenced`] if an open task uses its result.
    pub async fn delete(&self, id: &TaskId) -> Result<bool, StoreError> {
        let (store, id) = (self.clone(), id.clone());
        to_completion(async move {
            // The row first: after a crash in between, files are left to the sweep, never a row without its files.
            let Some(unused) = store.shared.database.delete(&id).await? else { return Ok(false) };
            store.remove_files(unused).await;
            store.notify_task(&id);
            Ok(true)
        })
        .await
    }
}
