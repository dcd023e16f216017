//! Taking a task, holding it, and ending it.

use std::time::Duration;

use ltx2_types::{Failure, FailureCode, Phase, Progress, ValidRequest};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteQueryResult};
use sqlx::{Sqlite, SqliteConnection};
use uuid::Uuid;

use crate::commit::Effect;
use crate::events::{self, EventKind};
use crate::record::{from_word, to_word, unreadable};
use crate::store::{blocking, now};
use crate::{Artifact, FileName, Store, StoreError, TaskId, files};

/// A task that was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The right to run and end it.
    pub lease: Lease,
    /// What to do.
    pub request: ValidRequest,
    /// 1 the first time.
    pub attempt: u32,
}

/// The right to run and end a task, until it runs out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    task: TaskId,
    token: String,
    length: Duration,
}

impl Lease {
    /// The task.
    pub fn task(&self) -> &TaskId {
        &self.task
    }

    /// How long it lasts after a heartbeat.
    pub fn length(&self) -> Duration {
        self.length
    }

    pub(crate) fn check(&self, result: &SqliteQueryResult) -> Result<(), StoreError> {
        if result.rows_affected() == 0 { Err(StoreError::LeaseLost(self.task.clone())) } else { Ok(()) }
    }
}

impl Store {
    /// Takes the first waiting task for `worker`. Without a heartbeat it goes back to the queue after `length`.
    pub async fn claim(&self, worker: &str, length: Duration) -> Result<Option<Claim>, StoreError> {
        self.take_back_lapsed(now()).await?;
        loop {
            let token = Uuid::new_v4().simple().to_string();
            let taken = self.take_first(worker, &token, length).await?;
            let Some((task, request, attempt)) = taken else { return Ok(None) };
            let lease = Lease { task, token, length };
            match serde_json::from_str(&request) {
                Ok(request) => return Ok(Some(Claim { lease, request, attempt })),
                // Written by another version: it must not stop the queue.
                Err(error) => {
                    let reason = format!("the stored request cannot be read by this version: {error}");
                    self.fail(&lease, &Failure::new(FailureCode::Internal, reason)).await?;
                }
            }
        }
    }

    async fn take_first(
        &self,
        worker: &str,
        token: &str,
        length: Duration,
    ) -> Result<Option<(TaskId, String, u32)>, StoreError> {
        let sql = "UPDATE tasks SET state = 'running', attempts = attempts + 1, started_at = ?,
                       phase = NULL, step = NULL, total_steps = NULL,
                       lease_owner = ?, lease_token = ?, lease_expires_at = ?
                   WHERE seq = (SELECT seq FROM tasks WHERE state = 'queued' ORDER BY priority DESC, seq LIMIT 1)
                   RETURNING id, request, attempts";
        let mut transaction = self.shared.pool.begin_with("BEGIN IMMEDIATE").await?;
        let row: Option<(String, String, u32)> = sqlx::query_as(sql)
            .bind(now())
            .bind(worker)
            .bind(token)
            .bind(expiry(length))
            .fetch_optional(&mut *transaction)
            .await?;
        let Some((id, request, attempt)) = row else { return Ok(None) };
        let Some(task) = TaskId::parse(&id) else {
            // It must not stop the queue.
            transaction.commit().await?;
            return Err(unreadable(&id, "its id is not an id"));
        };
        events::note(&mut transaction, &id, EventKind::Started, None).await?;
        self.commit(transaction, &task, Effect::Started).await?;
        Ok(Some((task, request, attempt)))
    }

    /// Starts the lease's time anew.
    pub async fn heartbeat(&self, lease: &Lease) -> Result<(), StoreError> {
        let sql = "UPDATE tasks SET lease_expires_at = ? WHERE id = ? AND lease_token = ?";
        let query = sqlx::query(sql).bind(expiry(lease.length)).bind(lease.task.as_str()).bind(&lease.token);
        lease.check(&query.execute(&self.shared.pool).await?)
    }

    /// Notes how far the task is; a heartbeat too.
    pub async fn report_progress(&self, lease: &Lease, progress: Progress) -> Result<(), StoreError> {
        self.report_steps(lease, &[progress]).await
    }

    /// Notes how far the task came, each place on its way; a heartbeat too.
    pub async fn report_steps(&self, lease: &Lease, steps: &[Progress]) -> Result<(), StoreError> {
        let Some(&last) = steps.last() else { return self.heartbeat(lease).await };
        let id = lease.task.as_str();
        let mut transaction = self.shared.pool.begin_with("BEGIN IMMEDIATE").await?;
        let mut phase = phase_of(&mut transaction, id).await?;
        let sql = "UPDATE tasks SET lease_expires_at = ?, phase = ?, step = ?, total_steps = ?
                   WHERE id = ? AND lease_token = ?";
        let query = sqlx::query(sql)
            .bind(expiry(lease.length))
            .bind(to_word(last.phase)?)
            .bind(last.step)
            .bind(last.total_steps)
            .bind(id)
            .bind(&lease.token);
        lease.check(&query.execute(&mut *transaction).await?)?;
        for &progress in steps {
            let kind =
                if phase.replace(progress.phase) == Some(progress.phase) { EventKind::Step } else { EventKind::Stage };
            events::note(&mut transaction, id, kind, Some(progress)).await?;
        }
        self.commit(transaction, &lease.task, Effect::Changed).await
    }

    /// Whether someone asked for the task to be stopped.
    pub async fn is_cancel_requested(&self, lease: &Lease) -> Result<bool, StoreError> {
        let sql = "SELECT cancel_requested FROM tasks WHERE id = ? AND lease_token = ?";
        let query = sqlx::query_scalar(sql).bind(lease.task.as_str()).bind(&lease.token);
        let requested: Option<bool> = query.fetch_optional(&self.shared.pool).await?;
        requested.ok_or_else(|| StoreError::LeaseLost(lease.task.clone()))
    }

    /// Notes that `artifact` is about to be given its names: if those are found after a crash, the task is completed.
    pub async fn prepare(&self, lease: &Lease, artifact: &Artifact) -> Result<(), StoreError> {
        let sql = "UPDATE tasks SET result_file = ?, thumbnail_file = ?, pipeline = ?, enhanced_prompt = ?
                   WHERE id = ? AND lease_token = ?";
        let query = sqlx::query(sql)
            .bind(artifact.file.as_str())
            .bind(artifact.thumbnail.as_ref().map(FileName::as_str))
            .bind(to_word(artifact.pipeline)?)
            .bind(&artifact.enhanced_prompt)
            .bind(lease.task.as_str())
            .bind(&lease.token);
        lease.check(&query.execute(&self.shared.pool).await?)
    }

    /// Ends the task with a result, whose bytes the caller has made durable.
    pub async fn complete(&self, lease: &Lease, artifact: &Artifact) -> Result<(), StoreError> {
        let paths = artifact.files().map(|file| self.output_path(file)).collect::<Vec<_>>();
        let folder = self.outputs_dir();
        let bytes = blocking(move || {
            let size = |path| std::fs::metadata(path).map(|data| data.len()).map_err(StoreError::file(path));
            let bytes = paths.iter().map(size).sum::<Result<u64, StoreError>>()?;
            files::sync_folder(&folder)?;
            Ok(bytes)
        })
        .await?;
        let sql = "UPDATE tasks SET state = 'completed', result_file = ?, thumbnail_file = ?, pipeline = ?,
                       enhanced_prompt = ?, result_bytes = ?, finished_at = ?, lease_owner = NULL, lease_token = NULL, lease_expires_at = NULL
                   WHERE id = ? AND lease_token = ?";
        let update = sqlx::query(sql)
            .bind(artifact.file.as_str())
            .bind(artifact.thumbnail.as_ref().map(FileName::as_str))
            .bind(to_word(artifact.pipeline)?)
            .bind(&artifact.enhanced_prompt)
            .bind(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.end(lease, update, EventKind::Completed).await
    }

    /// Ends the task without a result.
    pub async fn fail(&self, lease: &Lease, failure: &Failure) -> Result<(), StoreError> {
        let sql = "UPDATE tasks SET state = 'failed', error_code = ?, error_message = ?,
                       result_file = NULL, thumbnail_file = NULL, pipeline = NULL, finished_at = ?,
                       lease_owner = NULL, lease_token = NULL, lease_expires_at = NULL
                   WHERE id = ? AND lease_token = ?";
        let update = sqlx::query(sql).bind(to_word(failure.code)?).bind(&failure.message);
        self.end(lease, update, EventKind::Failed).await
    }

    /// Runs an update whose last parameters are the time, the task and the token; the inputs are not needed any more.
    async fn end(
        &self,
        lease: &Lease,
        update: Query<'_, Sqlite, SqliteArguments>,
        kind: EventKind,
    ) -> Result<(), StoreError> {
        let update = update.bind(now()).bind(lease.task.as_str()).bind(&lease.token);
        let mut transaction = self.shared.pool.begin_with("BEGIN IMMEDIATE").await?;
        lease.check(&update.execute(&mut *transaction).await?)?;
        let inputs = note_end(&mut transaction, lease.task.as_str(), kind).await?;
        self.commit(transaction, &lease.task, Effect::Ended(inputs)).await
    }

    /// Gives the task back to the queue, at its old place and as if it had not been started.
    pub async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let sql = "UPDATE tasks SET state = 'queued', attempts = attempts - 1, started_at = NULL,
                       phase = NULL, step = NULL, total_steps = NULL,
                       result_file = NULL, thumbnail_file = NULL, pipeline = NULL,
                       lease_owner = NULL, lease_token = NULL, lease_expires_at = NULL
                   WHERE id = ? AND lease_token = ?";
        let query = sqlx::query(sql).bind(lease.task.as_str()).bind(&lease.token);
        let mut transaction = self.shared.pool.begin_with("BEGIN IMMEDIATE").await?;
        lease.check(&query.execute(&mut *transaction).await?)?;
        events::note(&mut transaction, lease.task.as_str(), EventKind::Queued, None).await?;
        self.commit(transaction, &lease.task, Effect::Queued(None)).await
    }
}

async fn phase_of(connection: &mut SqliteConnection, id: &str) -> Result<Option<Phase>, StoreError> {
    let query = sqlx::query_scalar("SELECT phase FROM tasks WHERE id = ?").bind(id);
    let phase: Option<Option<String>> = query.fetch_optional(connection).await?;
    Ok(phase.flatten().as_deref().and_then(from_word))
}

/// What every end of a task has in common: its last event, the webhook that falls due, the inputs that are returned as
/// no longer needed.
pub(crate) async fn note_end(
    connection: &mut SqliteConnection,
    id: &str,
    kind: EventKind,
) -> Result<Vec<FileName>, StoreError> {
    events::note(connection, id, kind, None).await?;
    let due = "UPDATE tasks SET webhook_due_at = ? WHERE id = ? AND webhook_url IS NOT NULL";
    sqlx::query(due).bind(now()).bind(id).execute(&mut *connection).await?;
    let inputs = "DELETE FROM task_inputs WHERE task = ? RETURNING file";
    let names: Vec<String> = sqlx::query_scalar(inputs).bind(id).fetch_all(connection).await?;
    Ok(names.iter().filter_map(|name| FileName::parse(name)).collect())
}

fn expiry(length: Duration) -> i64 {
    now().saturating_add(i64::try_from(length.as_millis()).unwrap_or(i64::MAX))
}
