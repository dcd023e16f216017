//! Who is to be told of a task's end, until they were.

use std::time::Duration;

use crate::store::now;
use crate::{Store, StoreError, TaskId, Webhook};

/// A call that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueWebhook {
    /// The task that ended.
    pub task: TaskId,
    /// Whom to call.
    pub webhook: Webhook,
    /// How often that was tried.
    pub attempts: u32,
}

impl Store {
    /// The calls that are due, the longest overdue first.
    pub async fn due_webhooks(&self, limit: u32) -> Result<Vec<DueWebhook>, StoreError> {
        let sql = "SELECT id, webhook_url, coalesce(webhook_base, ''), webhook_attempts FROM tasks
                   WHERE webhook_due_at <= ? AND webhook_url IS NOT NULL ORDER BY webhook_due_at LIMIT ?";
        let rows: Vec<(String, String, String, u32)> =
            sqlx::query_as(sql).bind(now()).bind(limit).fetch_all(&self.shared.pool).await?;
        let due = |(id, url, base, attempts): (String, _, _, _)| {
            Some(DueWebhook { task: TaskId::parse(&id)?, webhook: Webhook { url, base }, attempts })
        };
        Ok(rows.into_iter().filter_map(due).collect())
    }

    /// Notes a call: it is made again after `again`, or never.
    pub async fn webhook_called(&self, task: &TaskId, again: Option<Duration>) -> Result<(), StoreError> {
        let sql = "UPDATE tasks SET webhook_attempts = webhook_attempts + 1, webhook_due_at = ? WHERE id = ?";
        let due = again.map(|wait| now().saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)));
        sqlx::query(sql).bind(due).bind(task.as_str()).execute(&self.shared.pool).await?;
        Ok(())
    }

    /// Returns when a task ended since the last call, or at the next end.
    pub async fn wait_for_due_webhook(&self) {
        self.shared.webhook_due.notified().await;
    }
}
