//! Previews of running tasks.

use ltx2_types::TaskId;

use super::database::Database;
use super::transaction::lease_lost;
use crate::{Lease, StoreError};

impl Database {
    /// Extends the time until which previews of `id` are wanted to `until`. Does nothing if that was already requested
    /// until `enough`, or if the task has ended. Returns whether the task was changed.
    pub(crate) async fn want_previews(&self, id: &TaskId, until: i64, enough: i64) -> Result<bool, StoreError> {
        let is_due = "SELECT 1 FROM tasks WHERE id = ? AND state IN ('queued', 'running')
                      AND coalesce(preview_wanted_until, 0) < ?";
        let query = sqlx::query_scalar(is_due).bind(id.as_str()).bind(enough);
        let is_due: Option<i64> = query.fetch_optional(&self.reader).await?;
        if is_due.is_none() {
            return Ok(false);
        }
        let sql = "UPDATE tasks SET preview_wanted_until = max(coalesce(preview_wanted_until, 0), ?)
                   WHERE id = ? AND state IN ('queued', 'running')";
        let updated = sqlx::query(sql).bind(until).bind(id.as_str()).execute(&self.writer).await?;
        Ok(updated.rows_affected() > 0)
    }

    /// Stores `jpeg` as the latest preview of a running task.
    pub(crate) async fn put_preview(&self, lease: &Lease, jpeg: &[u8]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let count = "UPDATE tasks SET preview_number = preview_number + 1 WHERE id = ? AND lease_token = ?";
        let query = sqlx::query(count).bind(lease.task.as_str()).bind(&lease.token);
        if query.execute(&mut *transaction).await?.rows_affected() == 0 {
            return Err(lease_lost(lease));
        }
        let sql =
            "INSERT INTO previews (task, jpeg) VALUES (?, ?) ON CONFLICT (task) DO UPDATE SET jpeg = excluded.jpeg";
        sqlx::query(sql).bind(lease.task.as_str()).bind(jpeg).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Returns the number and the JPEG of the latest preview of `id`.
    pub(crate) async fn preview(&self, id: &TaskId) -> Result<Option<(u32, Vec<u8>)>, StoreError> {
        let sql = "SELECT preview_number, jpeg FROM previews JOIN tasks ON tasks.id = previews.task WHERE task = ?";
        Ok(sqlx::query_as(sql).bind(id.as_str()).fetch_optional(&self.reader).await?)
    }
}
