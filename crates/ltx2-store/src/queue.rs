//! Putting tasks in.

use std::collections::HashSet;
use std::sync::Arc;

use ltx2_types::ValidRequest;
use sqlx::SqliteConnection;

use crate::commit::Effect;
use crate::events::{self, EventKind};
use crate::record::{FirstRow, KnownTask};
use crate::store::{blocking, now};
use crate::{FileName, InputFile, Store, StoreError, TaskId, files, new_task_id};

/// A task to be queued.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// What to make.
    pub request: ValidRequest,
    /// The files that the request names.
    pub inputs: Vec<InputFile>,
    /// Higher goes first; equals go in the order of their arrival.
    pub priority: i32,
    /// Makes a repeated submission find the first one's task.
    pub key: Option<SubmissionKey>,
    /// Who is told when the task has ended.
    pub webhook: Option<Webhook>,
    /// No task is added to a queue that has this many waiting.
    pub max_waiting: Option<u32>,
}

/// The client's name for a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmissionKey {
    /// The name.
    pub key: String,
    /// Equal for equal requests, and for no others.
    pub fingerprint: String,
}

/// Someone to be told of a task's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where to call.
    pub url: String,
    /// The front of URLs in what is told: where the client that asked finds this server.
    pub base: String,
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// It is a new task.
    Queued(TaskId),
    /// It was submitted before, as this task.
    Known(TaskId),
}

impl Submitted {
    /// The task.
    pub fn id(&self) -> &TaskId {
        match self {
            Self::Queued(id) | Self::Known(id) => id,
        }
    }
}

impl Submission {
    /// `request` at its ordinary turn, for nobody in particular.
    pub fn new(request: ValidRequest, inputs: Vec<InputFile>) -> Self {
        Self { request, inputs, priority: 0, key: None, webhook: None, max_waiting: None }
    }

    fn names_its_inputs(&self) -> bool {
        let inputs: Vec<String> = self.request.task.inputs().iter().map(|input| input.source.to_string()).collect();
        let named: HashSet<&str> = inputs.iter().map(String::as_str).collect();
        named == self.inputs.iter().map(|input| input.name().as_str()).collect()
    }
}

/// A submission as the row has it.
struct NewRow {
    request: Arc<ValidRequest>,
    /// The same as JSON.
    text: String,
    work: i64,
    priority: i32,
    key: Option<SubmissionKey>,
    webhook: Option<Webhook>,
    max_waiting: Option<u32>,
    inputs: Vec<FileName>,
}

impl Store {
    /// Queues `request` with the files that it names. When this returns, the task survives a power cut.
    pub async fn enqueue(&self, request: &ValidRequest, inputs: Vec<InputFile>) -> Result<TaskId, StoreError> {
        Ok(self.submit(Submission::new(request.clone(), inputs)).await?.id().clone())
    }

    /// Queues a task, or finds the one that was queued under the same key. When this returns, the task survives a power
    /// cut. Fails with [`StoreError::QueueFull`] or [`StoreError::KeyReused`] where the submission's terms are not met.
    pub async fn submit(&self, submission: Submission) -> Result<Submitted, StoreError> {
        if !submission.names_its_inputs() {
            return Err(StoreError::InputsMismatch);
        }
        let row = NewRow {
            text: serde_json::to_string(&submission.request)?,
            work: work(&submission.request),
            request: Arc::new(submission.request),
            priority: submission.priority,
            key: submission.key,
            webhook: submission.webhook,
            max_waiting: submission.max_waiting,
            inputs: submission.inputs.iter().map(|input| input.name().clone()).collect(),
        };
        // Before anything is written for it.
        if let Some(known) = check(&mut *self.shared.pool.acquire().await?, &row).await? {
            return Ok(Submitted::Known(known));
        }
        let (folder, inputs) = (self.shared.files.inputs(), submission.inputs);
        let written = blocking(move || files::write_inputs(&folder, &inputs)).await;
        let submitted = match written {
            Ok(()) => self.insert(&row).await,
            Err(error) => Err(error),
        };
        match &submitted {
            Ok(Submitted::Queued(_)) => {}
            Ok(Submitted::Known(_)) | Err(_) => self.remove_inputs(row.inputs).await,
        }
        submitted
    }

    async fn insert(&self, row: &NewRow) -> Result<Submitted, StoreError> {
        let id = new_task_id();
        let mut transaction = self.shared.pool.begin_with("BEGIN IMMEDIATE").await?;
        if let Some(known) = check(&mut transaction, row).await? {
            return Ok(Submitted::Known(known));
        }
        let sql = "INSERT INTO tasks (id, state, request, work, priority, idempotency_key, fingerprint, webhook_url,
                       webhook_base, created_at) VALUES (?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?)";
        let created_at = now();
        let added = sqlx::query(sql)
            .bind(id.as_str())
            .bind(&row.text)
            .bind(row.work)
            .bind(row.priority)
            .bind(row.key.as_ref().map(|key| &key.key))
            .bind(row.key.as_ref().map(|key| &key.fingerprint))
            .bind(row.webhook.as_ref().map(|webhook| &webhook.url))
            .bind(row.webhook.as_ref().map(|webhook| &webhook.base))
            .bind(created_at)
            .execute(&mut *transaction)
            .await?;
        for input in &row.inputs {
            sqlx::query("INSERT INTO task_inputs (file, task) VALUES (?, ?)")
                .bind(input.as_str())
                .bind(id.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        events::note(&mut transaction, id.as_str(), EventKind::Queued, None).await?;
        let known = KnownTask::first(FirstRow {
            seq: added.last_insert_rowid(),
            id: id.clone(),
            request: row.request.clone(),
            request_bytes: row.text.len(),
            priority: row.priority,
            work: row.work,
            created_at,
        });
        self.commit(transaction, &id, Effect::Queued(Some(known))).await?;
        Ok(Submitted::Queued(id))
    }

    pub(crate) async fn remove_inputs(&self, names: Vec<FileName>) {
        let folder = self.shared.files.inputs();
        let removed = blocking(move || names.iter().try_for_each(|name| files::remove(&folder, name))).await;
        if let Err(error) = removed {
            tracing::warn!(%error, "an input file stays until the next start: {error}");
        }
    }
}

/// The task that has `row`'s key already; fails if `row` may not be added.
async fn check(connection: &mut SqliteConnection, row: &NewRow) -> Result<Option<TaskId>, StoreError> {
    if let Some(wanted) = &row.key {
        let sql = "SELECT id, fingerprint FROM tasks WHERE idempotency_key = ?";
        let known: Option<(String, Option<String>)> =
            sqlx::query_as(sql).bind(&wanted.key).fetch_optional(&mut *connection).await?;
        if let Some((id, fingerprint)) = known {
            if fingerprint.as_deref() != Some(&wanted.fingerprint) {
                return Err(StoreError::KeyReused);
            }
            return Ok(TaskId::parse(&id));
        }
    }
    let Some(most) = row.max_waiting else { return Ok(None) };
    let sql = "SELECT count(*) FROM tasks WHERE state = 'queued'";
    let waiting: i64 = sqlx::query_scalar(sql).fetch_one(connection).await?;
    if waiting >= i64::from(most) { Err(StoreError::QueueFull { waiting, most }) } else { Ok(None) }
}

/// How much there is to do, in a unit by which times of other requests can be guessed.
fn work(request: &ValidRequest) -> i64 {
    let ValidRequest { width, height, num_frames, num_inference_steps, .. } = *request;
    [width, height, num_frames, num_inference_steps]
        .into_iter()
        .map(i64::from)
        .fold(1, |product: i64, factor| product.saturating_mul(factor.max(1)))
        / 1000
        + 1
}
