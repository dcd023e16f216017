//! Stopping tasks and removing what they made.

use ltx2_types::FailureCode;

use crate::commit::Effect;
use crate::events::EventKind;
use crate::lapse::CANCELLED;
use crate::lease::note_end;
use crate::record::to_word;
use crate::store::now;
use crate::{Store, StoreError, TaskId};

/// What became of a task that is not wanted any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It waited, and has failed as cancelled.
    Cancelled,
    /// It runs, and will have failed as cancelled once its current step is done.
    Stopping,
    /// It had ended, and is gone with its files.
    Deleted,
}

impl Store {
    /// Stops `id`, or deletes it where it has ended; `None` when there is no such task.
    pub async fn remove(&self, id: &TaskId) -> Result<Option<Removal>, StoreError> {
        match self.cancel(id).await? {
            Some(removal) => Ok(Some(removal)),
            None if self.delete(id).await? => Ok(Some(Removal::Deleted)),
            None => Ok(None),
        }
    }

    /// Stops `id`; `None` when there is no such task or it has ended.
    pub async fn cancel(&self, id: &TaskId) -> Result<Option<Removal>, StoreError> {
        let mut transaction = self.shared.pool.begin_with("BEGIN IMMEDIATE").await?;
        let cancel = "UPDATE tasks SET state = 'failed', error_code = ?, error_message = ?, finished_at = ?
                      WHERE id = ? AND state = 'queued'";
        let query = sqlx::query(cancel).bind(to_word(FailureCode::Cancelled)?).bind(CANCELLED).bind(now());
        if query.bind(id.as_str()).execute(&mut *transaction).await?.rows_affected() == 1 {
            let inputs = note_end(&mut transaction, id.as_str(), EventKind::Failed).await?;
            self.commit(transaction, id, Effect::Ended(inputs)).await?;
            return Ok(Some(Removal::Cancelled));
        }
        let stop = "UPDATE tasks SET cancel_requested = 1 WHERE id = ? AND state = 'running'";
        if sqlx::query(stop).bind(id.as_str()).execute(&mut *transaction).await?.rows_affected() == 0 {
            return Ok(None);
        }
        self.commit(transaction, id, Effect::Changed).await?;
        Ok(Some(Removal::Stopping))
    }

    /// Removes an ended task with its files; `false` when there is no such task or it has not ended.
    pub(crate) async fn delete(&self, id: &TaskId) -> Result<bool, StoreError> {
        let mut transaction = self.shared.pool.begin_with("BEGIN IMMEDIATE").await?;
        let sql = "DELETE FROM tasks WHERE id = ? AND state IN ('completed', 'failed')";
        if sqlx::query(sql).bind(id.as_str()).execute(&mut *transaction).await?.rows_affected() == 0 {
            return Ok(false);
        }
        // The row first: a crash in between leaves files that the next start sweeps, never a task without its video.
        self.commit(transaction, id, Effect::Gone).await?;
        Ok(true)
    }
}
