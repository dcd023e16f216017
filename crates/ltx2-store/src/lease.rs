//! Taking a task, holding it, and ending it.

use std::time::Duration;

use ltx2_types::{Failure, FailureCode, Progress, ValidRequest};
use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteQueryResult};
use uuid::Uuid;

use crate::record::to_word;
use crate::store::{blocking, now};
use crate::{Artifact, Store, StoreError, TaskId, files};

/// How often a task is started before it is given up; a task that brings the process down must not do so for ever.
pub const MAX_ATTEMPTS: u32 = 3;

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

    fn check(&self, result: &SqliteQueryResult) -> Result<(), StoreError> {
        if result.rows_affected() == 0 { Err(StoreError::LeaseLost(self.task.clone())) } else { Ok(()) }
    }
}

impl Store {
    /// Takes the oldest waiting task for `worker`. Without a heartbeat it goes back to the queue after `length`.
    pub async fn claim(&self, worker: &str, length: Duration) -> Result<Option<Claim>, StoreError> {
        self.take_back_lapsed(now()).await?;
        let sql = "UPDATE tasks SET state = 'running', attempts = attempts + 1, started_at = ?,
                       lease_owner = ?, lease_token = ?, lease_expires_at = ?
                   WHERE seq = (SELECT seq FROM tasks WHERE state = 'queued' ORDER BY seq LIMIT 1)
                   RETURNING id, request, attempts";
        loop {
            let token = Uuid::new_v4().simple().to_string();
            let row: Option<(String, String, u32)> = sqlx::query_as(sql)
                .bind(now())
                .bind(worker)
                .bind(&token)
                .bind(expiry(length))
                .fetch_optional(&self.shared.pool)
                .await?;
            let Some((id, request, attempt)) = row else { return Ok(None) };
            let Some(task) = TaskId::parse(&id) else {
                return Err(StoreError::Unreadable { id, reason: "its id is not an id".into() });
            };
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

    /// Starts the lease's time anew.
    pub async fn heartbeat(&self, lease: &Lease) -> Result<(), StoreError> {
        let sql = "UPDATE tasks SET lease_expires_at = ? WHERE id = ? AND lease_token = ?";
        let query = sqlx::query(sql).bind(expiry(lease.length)).bind(lease.task.as_str()).bind(&lease.token);
        lease.check(&query.execute(&self.shared.pool).await?)
    }

    /// Notes how far the task is; a heartbeat too.
    pub async fn report_progress(&self, lease: &Lease, progress: Progress) -> Result<(), StoreError> {
        let sql = "UPDATE tasks SET lease_expires_at = ?, phase = ?, step = ?, total_steps = ?
                   WHERE id = ? AND lease_token = ?";
        let query = sqlx::query(sql)
            .bind(expiry(lease.length))
            .bind(to_word(progress.phase)?)
            .bind(progress.step)
            .bind(progress.total_steps)
            .bind(lease.task.as_str())
            .bind(&lease.token);
        lease.check(&query.execute(&self.shared.pool).await?)
    }

    /// Ends the task with a result, whose bytes the caller has made durable.
    pub async fn complete(&self, lease: &Lease, artifact: &Artifact) -> Result<(), StoreError> {
        let (path, folder) = (self.output_path(&artifact.file), self.outputs_dir());
        blocking(move || {
            std::fs::metadata(&path).map_err(StoreError::file(&path))?;
            files::sync_folder(&folder)
        })
        .await?;
        let sql = "UPDATE tasks SET state = 'completed', result_file = ?, pipeline = ?, finished_at = ?,
                       lease_owner = NULL, lease_token = NULL, lease_expires_at = NULL
                   WHERE id = ? AND lease_token = ?";
        self.end(lease, sqlx::query(sql).bind(artifact.file.as_str()).bind(to_word(artifact.pipeline)?)).await
    }

    /// Ends the task without a result.
    pub async fn fail(&self, lease: &Lease, failure: &Failure) -> Result<(), StoreError> {
        let sql = "UPDATE tasks SET state = 'failed', error_code = ?, error_message = ?, finished_at = ?,
                       lease_owner = NULL, lease_token = NULL, lease_expires_at = NULL
                   WHERE id = ? AND lease_token = ?";
        self.end(lease, sqlx::query(sql).bind(to_word(failure.code)?).bind(&failure.message)).await
    }

    /// Runs an update whose last parameters are the time, the task and the token; the inputs are not needed any more.
    async fn end(&self, lease: &Lease, update: Query<'_, Sqlite, SqliteArguments>) -> Result<(), StoreError> {
        let update = update.bind(now()).bind(lease.task.as_str()).bind(&lease.token);
        lease.check(&update.execute(&self.shared.pool).await?)?;
        self.forget_inputs(lease.task.as_str()).await;
        Ok(())
    }

    /// Gives the task back to the queue, at its old place and as if it had not been started.
    pub async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let sql = "UPDATE tasks SET state = 'queued', attempts = attempts - 1, started_at = NULL,
                       phase = NULL, step = NULL, total_steps = NULL,
                       lease_owner = NULL, lease_token = NULL, lease_expires_at = NULL
                   WHERE id = ? AND lease_token = ?";
        let query = sqlx::query(sql).bind(lease.task.as_str()).bind(&lease.token);
        lease.check(&query.execute(&self.shared.pool).await?)?;
        self.shared.queued.notify_one();
        Ok(())
    }

    /// Ends leases that ran out by `cutoff`: their tasks are queued again, or given up after [`MAX_ATTEMPTS`].
    /// Returns how many there were.
    pub(crate) async fn take_back_lapsed(&self, cutoff: i64) -> Result<usize, StoreError> {
        let given_up = format!("given up after {MAX_ATTEMPTS} starts: each time the server stopped before the end");
        let sql = "UPDATE tasks SET
                       state = CASE WHEN attempts < ?1 THEN 'queued' ELSE 'failed' END,
                       error_code = CASE WHEN attempts < ?1 THEN NULL ELSE ?2 END,
                       error_message = CASE WHEN attempts < ?1 THEN NULL ELSE ?3 END,
                       finished_at = CASE WHEN attempts < ?1 THEN NULL ELSE ?4 END,
                       phase = NULL, step = NULL, total_steps = NULL,
                       lease_owner = NULL, lease_token = NULL, lease_expires_at = NULL
                   WHERE state = 'running' AND lease_expires_at <= ?5
                   RETURNING id, state";
        let lapsed: Vec<(String, String)> = sqlx::query_as(sql)
            .bind(MAX_ATTEMPTS)
            .bind(to_word(FailureCode::Internal)?)
            .bind(given_up)
            .bind(now())
            .bind(cutoff)
            .fetch_all(&self.shared.pool)
            .await?;
        for (id, _) in lapsed.iter().filter(|(_, state)| state == "failed") {
            tracing::error!(task = id, "task {id} is given up after {MAX_ATTEMPTS} starts");
            self.forget_inputs(id).await;
        }
        Ok(lapsed.len())
    }
}

fn expiry(length: Duration) -> i64 {
    now().saturating_add(i64::try_from(length.as_millis()).unwrap_or(i64::MAX))
}
