//! Expired leases: running tasks whose worker has stopped.

use ltx2_types::{Failure, TaskId};

use super::database::Database;
use super::transaction::{end, file_names, requeue};
use crate::clock::now;
use crate::files::{Files, UnusedFiles};
use crate::task::EventKind;
use crate::{FileName, StoreError};

/// A running task whose lease has expired.
#[derive(Debug, Clone)]
pub(crate) struct ExpiredLease {
    pub(crate) task: TaskId,
    pub(crate) attempts: u32,
    pub(crate) cancel_requested: bool,
    /// Output files that were prepared.
    pub(crate) outputs: Vec<FileName>,
    /// The lease expired by this time.
    cutoff: i64,
}

/// New state of a task with an expired lease.
#[derive(Debug, Clone)]
pub(crate) enum Reclaimed {
    /// All outputs are in place, with these sizes in bytes; only the end was not stored.
    Completed(Vec<u64>),
    Failed(Failure),
    Queued,
}

impl Database {
    /// Returns the running tasks whose lease expires by `cutoff`.
    pub(crate) async fn expired_leases(&self, cutoff: i64) -> Result<Vec<ExpiredLease>, StoreError> {
        let sql = "SELECT id, attempts, cancel_requested FROM tasks
                   WHERE state = 'running' AND lease_expires_at <= ?";
        let rows: Vec<(String, u32, bool)> = sqlx::query_as(sql).bind(cutoff).fetch_all(&self.reader).await?;
        let mut expired = Vec::new();
        for (id, attempts, cancel_requested) in rows {
            // A row without a valid id stays as it is: no client can ask for it.
            let Some(task) = TaskId::parse(&id) else { continue };
            let keys = "SELECT key FROM artifacts WHERE task = ? ORDER BY number";
            let keys = sqlx::query_scalar(keys).bind(&id).fetch_all(&self.reader).await?;
            expired.push(ExpiredLease { task, attempts, cancel_requested, outputs: file_names(keys), cutoff });
        }
        Ok(expired)
    }

    /// Stores the new state of a task with an expired lease. Returns `None` if the lease was renewed meanwhile.
    pub(crate) async fn reclaim(
        &self,
        files: &Files,
        expired: &ExpiredLease,
        reclaimed: &Reclaimed,
    ) -> Result<Option<UnusedFiles>, StoreError> {
        let sql = "UPDATE tasks SET state = ?1, error_code = ?2, error_message = ?3, finished_at = ?4,
                       pipeline = CASE WHEN ?1 = 'completed' THEN pipeline END,
                       enhanced_prompt = CASE WHEN ?1 = 'completed' THEN enhanced_prompt END,
                       phase = NULL, step = NULL, total_steps = NULL,
                       lease_owner = NULL, lease_token = NULL, lease_expires_at = NULL
                   WHERE id = ?5 AND state = 'running' AND lease_expires_at <= ?6";
        let (kind, failure) = match reclaimed {
            Reclaimed::Completed(_) => (EventKind::Completed, None),
            Reclaimed::Failed(failure) => (EventKind::Failed, Some(failure)),
            Reclaimed::Queued => (EventKind::Queued, None),
        };
        let mut transaction = self.begin().await?;
        let updated = sqlx::query(sql)
            .bind(kind.name())
            .bind(failure.map(|failure| failure.code.name()))
            .bind(failure.map(|failure| failure.message.as_str()))
            .bind(kind.is_last().then(now))
            .bind(expired.task.as_str())
            .bind(expired.cutoff)
            .execute(&mut *transaction)
            .await?;
        if updated.rows_affected() == 0 {
            return Ok(None);
        }
        if let Reclaimed::Completed(sizes) = reclaimed {
            for (key, &bytes) in expired.outputs.iter().zip(sizes) {
                let sql = "UPDATE artifacts SET bytes = ? WHERE key = ?";
                let query = sqlx::query(sql).bind(i64::try_from(bytes).unwrap_or(i64::MAX)).bind(key.as_str());
                query.execute(&mut *transaction).await?;
            }
        }
        let unused = if kind.is_last() {
            end(&mut transaction, &expired.task, kind).await?
        } else {
            requeue(&mut transaction, files, &expired.task).await?;
            UnusedFiles::default()
        };
        transaction.commit().await?;
        Ok(Some(unused))
    }
}
