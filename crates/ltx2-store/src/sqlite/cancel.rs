//! Cancellation and deletion of tasks.

use ltx2_types::{Failure, InputRef, TaskId};

use super::database::Database;
use super::transaction::{end, file_names};
use crate::StoreError;
use crate::clock::now;
use crate::files::UnusedFiles;
use crate::task::EventKind;

/// Outcome of a cancellation.
pub(crate) enum Cancelled {
    /// The task was queued and has failed.
    Queued(UnusedFiles),
    /// The task runs and is asked to stop.
    Running,
}

impl Database {
    /// Cancels a queued or running task; `None` if there is no such task or it has ended.
    pub(crate) async fn cancel(&self, id: &TaskId) -> Result<Option<Cancelled>, StoreError> {
        let mut transaction = self.begin().await?;
        let cancel = "UPDATE tasks SET state = 'failed', error_code = ?, error_message = ?, finished_at = ?
                      WHERE id = ? AND state = 'queued'";
        let failure = Failure::cancelled();
        let query = sqlx::query(cancel).bind(failure.code.name()).bind(&failure.message).bind(now());
        if query.bind(id.as_str()).execute(&mut *transaction).await?.rows_affected() == 1 {
            let unused = end(&mut transaction, id, EventKind::Failed).await?;
            transaction.commit().await?;
            return Ok(Some(Cancelled::Queued(unused)));
        }
        let stop = "UPDATE tasks SET cancel_requested = 1 WHERE id = ? AND state = 'running'";
        if sqlx::query(stop).bind(id.as_str()).execute(&mut *transaction).await?.rows_affected() == 0 {
            return Ok(None);
        }
        transaction.commit().await?;
        Ok(Some(Cancelled::Running))
    }

    /// Deletes an ended task and returns its files; `None` if there is no such task or it has not ended.
    ///
    /// # Errors
    /// [`StoreError::Referenced`] if a queued or running task uses its result.
    pub(crate) async fn delete(&self, id: &TaskId) -> Result<Option<UnusedFiles>, StoreError> {
        let mut transaction = self.begin().await?;
        let referenced = "SELECT 1 FROM task_references WHERE source = ? LIMIT 1";
        let query = sqlx::query_scalar(referenced).bind(InputRef::Result(id.clone()).to_string());
        let referenced: Option<i64> = query.fetch_optional(&mut *transaction).await?;
        if referenced.is_some() {
            return Err(StoreError::Referenced(id.clone()));
        }
        let keys = "SELECT key FROM artifacts WHERE task = ?";
        let keys = sqlx::query_scalar(keys).bind(id.as_str()).fetch_all(&mut *transaction).await?;
        let delete = "DELETE FROM tasks WHERE id = ? AND state IN ('completed', 'failed')";
        if sqlx::query(delete).bind(id.as_str()).execute(&mut *transaction).await?.rows_affected() == 0 {
            return Ok(None);
        }
        transaction.commit().await?;
        Ok(Some(UnusedFiles { outputs: file_names(keys), ..UnusedFiles::default() }))
    }
}
