//! A task as others see it, and as a row holds it.

use ltx2_types::{Failure, FailureCode, Phase, Pipeline, Progress, ValidRequest};
use serde::de::value::{Error as WordError, StrDeserializer};
use serde::{Deserialize, Serialize};

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
    /// How often it was started.
    pub attempts: u32,
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
    /// Which stages made it.
    pub pipeline: Pipeline,
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
    id: String,
    state: String,
    request: String,
    attempts: u32,
    phase: Option<String>,
    step: Option<u32>,
    total_steps: Option<u32>,
    error_code: Option<String>,
    error_message: Option<String>,
    result_file: Option<String>,
    pipeline: Option<String>,
    created_at: i64,
    started_at: Option<i64>,
    finished_at: Option<i64>,
    position: u32,
}

impl TaskRow {
    pub(crate) fn into_record(self) -> Result<TaskRecord, StoreError> {
        let id = TaskId::parse(&self.id).ok_or_else(|| unreadable(&self.id, "its id is not an id"))?;
        Ok(TaskRecord {
            id,
            status: self.status()?,
            request: serde_json::from_str(&self.request).ok(),
            attempts: self.attempts,
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
        })
    }

    fn status(&self) -> Result<TaskStatus, StoreError> {
        Ok(match self.state.as_str() {
            "queued" => TaskStatus::Queued { position: self.position },
            "running" => TaskStatus::Running { progress: self.progress() },
            "completed" => {
                let file = self.result_file.as_deref().and_then(FileName::parse);
                let file = file.ok_or_else(|| unreadable(&self.id, "it is completed without a result file"))?;
                let pipeline = self.pipeline.as_deref().and_then(from_word);
                let pipeline =
                    pipeline.ok_or_else(|| unreadable(&self.id, "it is completed by an unknown pipeline"))?;
                TaskStatus::Completed(Artifact { file, pipeline })
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

fn unreadable(id: &str, reason: &str) -> StoreError {
    StoreError::Unreadable { id: id.into(), reason: reason.into() }
}

/// A unit variant as the word that serde gives it.
pub(crate) fn to_word(value: impl Serialize) -> Result<String, StoreError> {
    Ok(serde_json::from_value(serde_json::to_value(value)?)?)
}

fn from_word<'de, T: Deserialize<'de>>(word: &'de str) -> Option<T> {
    T::deserialize(StrDeserializer::<WordError>::new(word)).ok()
}
