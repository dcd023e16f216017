//! Due webhook calls.

use std::time::Duration;

use ltx2_types::TaskId;

use super::database::Database;
use crate::StoreError;
use crate::clock::{after, now};
use crate::submission::{DueWebhook, Webhook};

#[derive(sqlx::FromRow)]
struct DueRow {
    id: String,
    webhook_url: String,
    base: String,
    webhook_attempts: u32,
}

impl Database {
    /// Leases the longest overdue webhook call for `lease`.
    pub(crate) async fn claim_webhook(&self, lease: Duration) -> Result<Option<DueWebhook>, StoreError> {
        let due = "SELECT 1 FROM tasks WHERE webhook_due_at <= ?1 AND coalesce(webhook_leased_until, 0) <= ?1
                   AND webhook_url IS NOT NULL LIMIT 1";
        let due: Option<i64> = sqlx::query_scalar(due).bind(now()).fetch_optional(&self.reader).await?;
        if due.is_none() {
            return Ok(None);
        }
        let sql = "UPDATE tasks SET webhook_leased_until = ?2
                   WHERE seq = (SELECT seq FROM tasks
                                WHERE webhook_due_at <= ?1 AND coalesce(webhook_leased_until, 0) <= ?1
                                AND webhook_url IS NOT NULL ORDER BY webhook_due_at LIMIT 1)
                   RETURNING id, webhook_url, coalesce(webhook_base, '') AS base, webhook_attempts";
        let leased_until = after(lease);
        let query = sqlx::query_as(sql).bind(now()).bind(leased_until);
        let row: Option<DueRow> = query.fetch_optional(&self.writer).await?;
        Ok(row.and_then(|DueRow { id, webhook_url: url, base, webhook_attempts: attempts }| {
            Some(DueWebhook { task: TaskId::parse(&id)?, webhook: Webhook { url, base }, attempts, leased_until })
        }))
    }

    /// Counts a webhook call and ends its lease. The call is due again at `due_at`, or never. Does nothing if another
    /// caller has leased the call since.
    pub(crate) async fn webhook_called(&self, webhook: &DueWebhook, due_at: Option<i64>) -> Result<(), StoreError> {
        let sql = "UPDATE tasks SET webhook_attempts = webhook_attempts + 1, webhook_due_at = ?,
                       webhook_leased_until = NULL
                   WHERE id = ? AND webhook_leased_until = ?";
        let query = sqlx::query(sql).bind(due_at).bind(webhook.task.as_str()).bind(webhook.leased_until);
        query.execute(&self.writer).await?;
        Ok(())
    }
}
