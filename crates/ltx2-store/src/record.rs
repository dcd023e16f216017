//! A task as others see it, and as a row holds it.

use std::sync::Arc;

use ltx2_types::{Failure, FailureCode, Phase, Pipeline, Progress, ValidRequest};
use serde::de::value::{Error as WordError, StrDeserializer};
use serde::{Deserialize, Serialize};

use crate::turns::Order;
use crate::{FileName, StoreError, TaskId};

/// Everything that is known of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRecord {
    /// The task's name.
    pub id: TaskId,
    /// What was agreed; `None` when another version wrote it in a form that this one cannot read.
    pub request: Option<Arc<ValidRequest>>,
    /// Where it stands.
    pub status: TaskStatus,
    /// Higher goes first.
    pub priority: i32,
    /// How often it was started.
    pub attempts: u32,
    /// It is told to stop, and will once its current step is done.
    pub is_stopping: bool,
    /// Milliseconds until it ends, guessed from how long others took.
    pub expected_ms: Option<i64>,
    /// When it was queued, UTC milliseconds.
    pub created_at: i64,
    /// When it was last started, UTC milliseconds.
    pub started_at: Option<i64>,
    /// When it ended, UTC milliseconds.
    pub finished_at: Option<i64>,
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskStatus {
    /// Waits for a worker.
    Queued {
        /// Place among the waiting tasks; 1 is next.
        position: u32,
    },
    /// A worker has it.
    Running {
        /// How far it is, once the worker said so.
        progress: Option<Progress>,
    },
    /// Ended with a result.
    Completed(Artifact),
    /// Ended without one.
    Failed(Failure),
}

/// A stored result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The file, in the folder of outputs.
    pub file: FileName,
    /// A picture of it, in the same folder.
    pub thumbnail: Option<FileName>,
    /// Which stages made it.
    pub pipeline: Pipeline,
    /// What became of the prompt, where it was to be enhanced.
    pub enhanced_prompt: Option<String>,
}

impl Artifact {
    /// Its files.
    pub fn files(&self) -> impl Iterator<Item = &FileName> {
        [Some(&self.file), self.thumbnail.as_ref()].into_iter().flatten()
    }
}

/// Bytes that a task needs, with the name under which they are stored until it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFile {
    name: FileName,
    bytes: Vec<u8>,
}

impl InputFile {
    /// `bytes` under a new name, for the request to refer to.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { name: FileName::random_input(), bytes }
    }

    /// The name to put into the request.
    pub fn name(&self) -> &FileName {
        &self.name
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What a row tells by itself.
#[derive(Debug, Clone)]
pub(crate) struct KnownTask {
    /// Without its position and time, which depend on other tasks.
    record: TaskRecord,
    seq: i64,
    work: i64,
    /// Bytes of the request and the message.
    text: usize,
}

/// A task's own row, as far as its first record needs it.
pub(crate) struct FirstRow {
    pub(crate) seq: i64,
    pub(crate) id: TaskId,
    pub(crate) request: Arc<ValidRequest>,
    /// Bytes of the request as text.
    pub(crate) request_bytes: usize,
    pub(crate) priority: i32,
    pub(crate) work: i64,
    pub(crate) created_at: i64,
}

impl KnownTask {
    /// A task that has come into the queue and was never anywhere else.
    pub(crate) fn first(row: FirstRow) -> Self {
        let record = TaskRecord {
            id: row.id,
            status: TaskStatus::Queued { position: 0 },
            expected_ms: None,
            request: Some(row.request),
            priority: row.priority,
            attempts: 0,
            is_stopping: false,
            created_at: row.created_at,
            started_at: None,
            finished_at: None,
        };
        Self { record, seq: row.seq, work: row.work, text: row.request_bytes }
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        // The id is held twice, and the request may have its texts beside itself.
        size_of::<Self>() + size_of::<ValidRequest>() + 2 * size_of::<TaskId>() + self.text
    }

    /// Whether it waits or runs, so that [`Order`] has something to say about it.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.record.status, TaskStatus::Queued { .. } | TaskStatus::Running { .. })
    }

    /// The record of a task that is not open.
    pub(crate) fn record(&self) -> TaskRecord {
        self.record.clone()
    }

    /// The record of a task that is open, with its place in `order`.
    pub(crate) fn record_in(&self, order: &Order) -> TaskRecord {
        let (priority, started_at) = (self.record.priority.into(), self.record.started_at);
        let mut record = self.record.clone();
        match &mut record.status {
            TaskStatus::Queued { position } => {
                *position = order.position(priority, self.seq);
                record.expected_ms = order.until_end_of_waiting(priority, self.seq, self.work);
            }
            TaskStatus::Running { .. } => {
                record.expected_ms = started_at.and_then(|at| order.until_end_of_running(self.work, at));
            }
            TaskStatus::Completed(_) | TaskStatus::Failed(_) => {}
        }
        record
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct TaskRow {
    pub(crate) seq: i64,
    id: String,
    state: String,
    request: String,
    priority: i32,
    work: i64,
    attempts: u32,
    cancel_requested: bool,
    phase: Option<String>,
    step: Option<u32>,
    total_steps: Option<u32>,
    error_code: Option<String>,
    error_message: Option<String>,
    result_file: Option<String>,
    thumbnail_file: Option<String>,
    pipeline: Option<String>,
    enhanced_prompt: Option<String>,
    created_at: i64,
    started_at: Option<i64>,
    finished_at: Option<i64>,
}

impl TaskRow {
    pub(crate) fn into_known(self) -> Result<KnownTask, StoreError> {
        let id = TaskId::parse(&self.id).ok_or_else(|| unreadable(&self.id, "its id is not an id"))?;
        let record = TaskRecord {
            id,
            status: self.status()?,
            expected_ms: None,
            request: serde_json::from_str(&self.request).ok().map(Arc::new),
            priority: self.priority,
            attempts: self.attempts,
            is_stopping: self.cancel_requested && self.state == "running",
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
        };
        let further =
            [&self.error_message, &self.enhanced_prompt].into_iter().flatten().map(String::len).sum::<usize>();
        let text = self.request.len() + further;
        Ok(KnownTask { record, seq: self.seq, work: self.work, text })
    }

    fn status(&self) -> Result<TaskStatus, StoreError> {
        Ok(match self.state.as_str() {
            "queued" => TaskStatus::Queued { position: 0 },
            "running" => TaskStatus::Running { progress: self.progress() },
            "completed" => {
                let file = self.result_file.as_deref().and_then(FileName::parse);
                let file = file.ok_or_else(|| unreadable(&self.id, "it is completed without a result file"))?;
                let pipeline = self.pipeline.as_deref().and_then(from_word);
                let pipeline =
                    pipeline.ok_or_else(|| unreadable(&self.id, "it is completed by an unknown pipeline"))?;
                let thumbnail = self.thumbnail_file.as_deref().and_then(FileName::parse);
                let enhanced_prompt = self.enhanced_prompt.clone();
                TaskStatus::Completed(Artifact { file, thumbnail, pipeline, enhanced_prompt })
            }
            "failed" => TaskStatus::Failed(self.failure()),
            other => return Err(unreadable(&self.id, &format!("its state is {other}"))),
        })
    }

    fn progress(&self) -> Option<Progress> {
        let phase: Phase = from_word(self.phase.as_deref()?)?;
        Some(Progress { phase, step: self.step?, total_steps: self.total_steps? })
    }

    fn failure(&self) -> Failure {
        let code = self.error_code.as_deref().and_then(from_word).unwrap_or(FailureCode::Internal);
        Failure::new(code, self.error_message.clone().unwrap_or_default())
    }
}

pub(crate) fn unreadable(id: &str, reason: &str) -> StoreError {
    StoreError::Unreadable { id: id.into(), reason: reason.into() }
}

/// A unit variant as the word that serde gives it.
pub(crate) fn to_word(value: impl Serialize) -> Result<String, StoreError> {
    Ok(serde_json::from_value(serde_json::to_value(value)?)?)
}

pub(crate) fn from_word<'de, T: Deserialize<'de>>(word: &'de str) -> Option<T> {
    T::deserialize(StrDeserializer::<WordError>::new(word)).ok()
}
