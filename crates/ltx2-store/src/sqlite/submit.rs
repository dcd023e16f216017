//! Submissions.

use ltx2_types::{InputRef, TaskId};
use sqlx::SqliteConnection;

use super::database::Database;
use super::events;
use crate::StoreError;
use crate::clock::now;
use crate::submission::{Submission, SubmissionContent, Submitted};
use crate::task::EventKind;

impl Database {
    /// Returns the task of an earlier submission with the same key or content, or an error if `submission` is refused.
    pub(crate) async fn check(&self, submission: &Submission) -> Result<Option<TaskId>, StoreError> {
        let mut connection = self.reader.acquire().await?;
        check(&mut connection, submission).await
    }

    /// Queues `submission` as task `id`, unless it repeats an earlier submission.
    pub(crate) async fn submit(&self, id: &TaskId, submission: &Submission) -> Result<Submitted, StoreError> {
        let request = serde_json::to_string(&submission.request)?;
        let plan = submission.plan.as_ref().map(serde_json::to_string).transpose()?;
        let mut transaction = self.begin().await?;
        if let Some(known) = check(&mut transaction, submission).await? {
            return Ok(Submitted::Known(known));
        }
        insert(&mut transaction, id, submission, (&request, plan.as_deref())).await?;
        for input in &submission.inputs {
            sqlx::query("INSERT INTO task_inputs (file, task) VALUES (?, ?)")
                .bind(input.name().as_str())
                .bind(id.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        for source in submission.references() {
            check_reference(&mut transaction, &source).await?;
            sqlx::query("INSERT INTO task_references (task, source) VALUES (?, ?)")
                .bind(id.as_str())
                .bind(source.to_string())
                .execute(&mut *transaction)
                .await?;
        }
        events::insert(&mut transaction, id, EventKind::Queued, None).await?;
        transaction.commit().await?;
        Ok(Submitted::Queued(id.clone()))
    }
}

async fn check(connection: &mut SqliteConnection, submission: &Submission) -> Result<Option<TaskId>, StoreError> {
    if let Some(wanted) = &submission.key {
        let sql = "SELECT id, fingerprint FROM tasks WHERE idempotency_key = ?";
        let known: Option<(String, Option<String>)> =
            sqlx::query_as(sql).bind(&wanted.key).fetch_optional(&mut *connection).await?;
        if let Some((id, fingerprint)) = known {
            if fingerprint.as_deref() != Some(&wanted.fingerprint) {
                return Err(StoreError::KeyReused);
            }
            return Ok(TaskId::parse(&id));
        }
    } else if let Some(known) = repeated(connection, submission).await? {
        return Ok(Some(known));
    }
    let Some(most) = submission.max_waiting else { return Ok(None) };
    let sql = "SELECT count(*) FROM tasks WHERE state = 'queued'";
    let waiting: i64 = sqlx::query_scalar(sql).fetch_one(connection).await?;
    if waiting >= i64::from(most) { Err(StoreError::QueueFull { waiting, most }) } else { Ok(None) }
}

/// Returns the task that `submission` repeats.
async fn repeated(connection: &mut SqliteConnection, submission: &Submission) -> Result<Option<TaskId>, StoreError> {
    let Some(SubmissionContent { fingerprint, repeats_within: Some(window) }) = &submission.content else {
        return Ok(None);
    };
    let sql = "SELECT id FROM tasks WHERE fingerprint = ? AND idempotency_key IS NULL AND created_at >= ?
               AND owner IS ? AND dialect IS ? ORDER BY seq DESC LIMIT 1";
    let id: Option<String> = sqlx::query_scalar(sql)
        .bind(fingerprint)
        .bind(now() - i64::try_from(window.as_millis()).unwrap_or(i64::MAX))
        .bind(submission.owner.as_deref())
        .bind(submission.dialect.as_deref())
        .fetch_optional(connection)
        .await?;
    Ok(id.as_deref().and_then(TaskId::parse))
}

async fn insert(
    connection: &mut SqliteConnection,
    id: &TaskId,
    submission: &Submission,
    (request, plan): (&str, Option<&str>),
) -> Result<(), StoreError> {
    let sql = "INSERT INTO tasks (id, state, request, plan, cost, priority, idempotency_key, fingerprint, webhook_url,
                   webhook_base, dialect, owner, created_at) VALUES (?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let Submission { key, content, callback, .. } = submission;
    let of_key = key.as_ref().map(|key| &key.fingerprint);
    let fingerprint = of_key.or(content.as_ref().map(|content| &content.fingerprint));
    let cost = submission.plan.as_ref().map_or(0, |plan| i64::try_from(plan.cost()).unwrap_or(i64::MAX));
    sqlx::query(sql)
        .bind(id.as_str())
        .bind(request)
        .bind(plan)
        .bind(cost)
        .bind(submission.priority)
        .bind(key.as_ref().map(|key| key.key.as_str()))
        .bind(fingerprint)
        .bind(callback.as_ref().map(|webhook| webhook.url.as_str()))
        .bind(callback.as_ref().map(|webhook| webhook.base.as_str()))
        .bind(submission.dialect.as_deref())
        .bind(submission.owner.as_deref())
        .bind(now())
        .execute(connection)
        .await?;
    Ok(())
}

/// Checks that an asset or result exists that a task is to refer to.
async fn check_reference(connection: &mut SqliteConnection, source: &InputRef) -> Result<(), StoreError> {
    let found: Option<i64> = match source {
        InputRef::Upload(_) => Some(1),
        InputRef::Asset(id) => {
            let sql = "SELECT 1 FROM assets WHERE id = ? AND (expires_at IS NULL OR expires_at > ?)";
            sqlx::query_scalar(sql).bind(id.as_str()).bind(now()).fetch_optional(connection).await?
        }
        InputRef::Result(id) => {
            let sql = "SELECT 1 FROM tasks WHERE id = ? AND state = 'completed'";
            sqlx::query_scalar(sql).bind(id.as_str()).fetch_optional(connection).await?
        }
    };
    found.map(drop).ok_or_else(|| StoreError::MissingInput(source.to_string()))
}
