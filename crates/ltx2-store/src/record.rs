//! A task as others see it, and as a row holds it.

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
    pub request: Option<ValidRequest>,
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
    created_at: i64,
    started_at: Option<i64>,
    finished_at: Option<i64>,
}

impl TaskRow {
    /// Whether it waits or runs, so that [`Order`] has something to say about it.
    pub(crate) fn is_open(&self) -> bool {
        ["queued", "running"].contains(&self.state.as_str())
    }

    pub(crate) fn into_record(self, order: &Order) -> Result<TaskRecord, StoreError> {
        let id = TaskId::parse(&self.id).ok_or_else(|| unreadable(&self.id, "its id is not an id"))?;
        Ok(TaskRecord {
            id,
            status: self.status(order)?,
            expected_ms: self.expected_ms(order),
            request: serde_json::from_str(&self.request).ok(),
            priority: self.priority,
            attempts: self.attempts,
            is_stopping: self.cancel_requested && self.state == "running",
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
        })
    }

    fn expected_ms(&self, order: &Order) -> Option<i64> {
        match self.state.as_str() {
            "queued" => order.until_end_of_waiting(self.priority.into(), self.seq, self.work),
            "running" => order.until_end_of_running(self.work, self.started_at?),
            _ => None,
        }
    }

    fn status(&self, order: &Order) -> Result<TaskStatus, StoreError> {
        Ok(match self.state.as_str() {
            "queued" => TaskStatus::Queued { position: order.position(self.priority.into(), self.seq) },
            "running" => TaskStatus::Running { progress: self.progress() },
            "completed" => {
                let file = self.result_file.as_deref().and_then(FileName::parse);
                let file = file.ok_or_else(|| unreadable(&self.id, "it is completed without a result file"))?;
                let pipeline = self.pipeline.as_deref().and_then(from_word);
                let pipeline =
                    pipeline.ok_or_else(|| unreadable(&self.id, "it is completed by an unknown pipeline"))?;
                let thumbnail = self.thumbnail_file.as_deref().and_then(FileName::parse);
                TaskStatus::Completed(Artifact { file, thumbnail, pipeline })
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
