//! Due webhook calls.

use std::time::Duration;

use ltx2_types::TaskId;

use super::database::Database;
use crate::StoreError;
use crate::clock::{after, now};
use crate::submission::{DueWebhook, Webhook};

/// Query of the longest overdue call at `?1` whose URL begins with no element of the JSON list `?2`.
macro_rules! longest_overdue {
    () => {
        "SELECT seq FROM tasks
         WHERE webhook_due_at <= ?1 AND coalesce(webhook_leased_until, 0) <= ?1 AND webhook_url IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM json_each(?2) WHERE substr(webhook_url, 1, length(value)) = value)
         ORDER BY webhook_due_at LIMIT 1"
    };
}

#[derive(sqlx::FromRow)]
struct DueRow {
    id: String,
    webhook_url: String,
    base: String,
    webhook_attempts: u32,
}

impl Database {
    /// Leases the longest overdue webhook call for `lease`, except those whose URL begins with an element of `busy`.
    pub(crate) async fn claim_webhook(
        &self,
        lease: Duration,
        busy: &[String],
    ) -> Result<Option<DueWebhook>, StoreError> {
        let busy = serde_json::json!(busy).to_string();
        let due = sqlx::query(longest_overdue!()).bind(now()).bind(&busy);
        if due.fetch_optional(&self.reader).await?.is_none() {
            return Ok(None);
        }
        let sql = concat!(
            "UPDATE tasks SET webhook_leased_until = ?3 WHERE seq = (",
            longest_overdue!(),
            ") RETURNING id, webhook_url, coalesce(webhook_base, '') AS base, webhook_attempts"
        );
        let leased_until = after(lease);
        let query = sqlx::query_as(sql).bind(now()).bind(&busy).bind(leased_until);
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
