//! Claims of queued tasks.

use std::time::Duration;

use ltx2_types::TaskId;

use super::database::Database;
use super::events;
use crate::StoreError;
use crate::clock::{after, now};
use crate::task::EventKind;

/// A claimed row: its request as JSON, and the number of the start.
pub(crate) struct ClaimedRow {
    pub(crate) task: TaskId,
    pub(crate) request: String,
    pub(crate) attempt: u32,
}

impl Database {
    /// Claims the first queued task for `worker`, under the lease token `token`.
    pub(crate) async fn claim_first(
        &self,
        worker: &str,
        token: &str,
        length: Duration,
    ) -> Result<Option<ClaimedRow>, StoreError> {
        let waiting = "SELECT 1 FROM tasks WHERE state = 'queued' LIMIT 1";
        let waiting: Option<i64> = sqlx::query_scalar(waiting).fetch_optional(&self.reader).await?;
        if waiting.is_none() {
            return Ok(None);
        }
        let sql = "UPDATE tasks SET state = 'running', attempts = attempts + 1, started_at = ?,
                       phase = NULL, step = NULL, total_steps = NULL,
                       lease_owner = ?, lease_token = ?, lease_expires_at = ?
                   WHERE seq = (SELECT seq FROM tasks WHERE state = 'queued' ORDER BY priority DESC, seq LIMIT 1)
                   RETURNING id, request, attempts";
        let mut transaction = self.begin().await?;
        let row: Option<(String, String, u32)> = sqlx::query_as(sql)
            .bind(now())
            .bind(worker)
            .bind(token)
            .bind(after(length))
            .fetch_optional(&mut *transaction)
            .await?;
        let Some((id, request, attempt)) = row else { return Ok(None) };
        let Some(task) = TaskId::parse(&id) else {
            // Stays claimed, so that it does not block the queue.
            transaction.commit().await?;
            return Err(StoreError::unreadable(&id, "its id is invalid"));
        };
        events::insert(&mut transaction, &task, EventKind::Started, None).await?;
        transaction.commit().await?;
        Ok(Some(ClaimedRow { task, request, attempt }))
    }
}
