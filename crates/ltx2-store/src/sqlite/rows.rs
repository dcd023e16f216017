//! Rows of tasks and artifacts.

use ltx2_types::{Failure, FailureCode, OutputRole, Phase, Progress, TaskId};
use serde::Deserialize;

use crate::task::{Artifact, Completion, TaskRecord, TaskState, TaskStatus};
use crate::{FileName, StoreError};

/// Columns of a [`TaskRow`], for a `SELECT` from `tasks`. Artifacts are one JSON array, so that one statement reads a
/// task with its files.
pub(super) const TASK_COLUMNS: &str =
    "seq, id, state, request, plan, priority, cost, attempts, cancel_requested, phase,
    step, total_steps, error_code, error_message, pipeline, enhanced_prompt, preview_number, dialect, owner, created_at,
    started_at, finished_at,
    CASE WHEN state = 'completed' THEN
        (SELECT json_group_array(json_object('role', role, 'key', key, 'mime', mime, 'bytes', bytes, 'width', width,
                'height', height, 'duration', duration, 'note', note) ORDER BY number)
         FROM artifacts WHERE task = tasks.id)
    END AS artifacts";

/// Queue position and expected time of a task. Both are empty for an ended task.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Timing {
    /// Queue position; 1 is next.
    pub(super) position: u32,
    /// Expected milliseconds until the task ends.
    pub(super) expected_ms: Option<i64>,
}

/// A task as stored, without its queue position and expected time.
#[derive(sqlx::FromRow)]
pub(super) struct TaskRow {
    pub(super) seq: i64,
    id: String,
    state: String,
    request: String,
    plan: Option<String>,
    pub(super) priority: i32,
    pub(super) cost: i64,
    attempts: u32,
    cancel_requested: bool,
    phase: Option<String>,
    step: Option<u32>,
    total_steps: Option<u32>,
    error_code: Option<String>,
    error_message: Option<String>,
    pipeline: Option<String>,
    enhanced_prompt: Option<String>,
    preview_number: u32,
    dialect: Option<String>,
    owner: Option<String>,
    created_at: i64,
    pub(super) started_at: Option<i64>,
    finished_at: Option<i64>,
    artifacts: Option<String>,
}

impl TaskRow {
    /// Returns the state, or an error if this version does not know it.
    pub(super) fn state(&self) -> Result<TaskState, StoreError> {
        let unknown = |_| StoreError::unreadable(&self.id, format!("unknown state {}", self.state));
        self.state.parse().map_err(unknown)
    }

    /// Returns the record with the queue position and expected time of `timing`.
    pub(super) fn into_record(self, timing: Timing) -> Result<TaskRecord, StoreError> {
        Ok(TaskRecord {
            id: TaskId::parse(&self.id).ok_or_else(|| StoreError::unreadable(&self.id, "its id is invalid"))?,
            status: self.status(timing.position)?,
            expected_ms: timing.expected_ms,
            request: serde_json::from_str(&self.request).ok(),
            plan: self.plan.as_deref().and_then(|plan| serde_json::from_str(plan).ok()),
            priority: self.priority,
            attempts: self.attempts,
            is_stopping: self.cancel_requested && self.state()? == TaskState::Running,
            preview: Some(self.preview_number).filter(|number| *number > 0),
            dialect: self.dialect,
            owner: self.owner,
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
        })
    }

    fn status(&self, position: u32) -> Result<TaskStatus, StoreError> {
        Ok(match self.state()? {
            TaskState::Queued => TaskStatus::Queued { position },
            TaskState::Running => TaskStatus::Running { progress: self.progress() },
            TaskState::Completed => TaskStatus::Completed(self.completion()?),
            TaskState::Failed => TaskStatus::Failed(self.failure()),
        })
    }

    fn progress(&self) -> Option<Progress> {
        let phase: Phase = self.phase.as_deref()?.parse().ok()?;
        Some(Progress { phase, step: self.step?, total_steps: self.total_steps? })
    }

    fn completion(&self) -> Result<Completion, StoreError> {
        let unreadable = |reason: &str| StoreError::unreadable(&self.id, reason);
        let outputs = self.artifacts.as_deref().and_then(|rows| serde_json::from_str::<Vec<ArtifactRow>>(rows).ok());
        let outputs = outputs.filter(|rows| !rows.is_empty()).ok_or_else(|| unreadable("it has no artifacts"))?;
        let outputs = outputs.into_iter().map(ArtifactRow::into_artifact).collect::<Option<_>>();
        let pipeline = self.pipeline.as_deref().and_then(|name| name.parse().ok());
        Ok(Completion {
            outputs: outputs.ok_or_else(|| unreadable("an artifact has an unknown role or an invalid key"))?,
            pipeline: pipeline.ok_or_else(|| unreadable("its pipeline is unknown"))?,
            enhanced_prompt: self.enhanced_prompt.clone(),
        })
    }

    fn failure(&self) -> Failure {
        let code = self.error_code.as_deref().and_then(|code| code.parse().ok()).unwrap_or(FailureCode::Internal);
        Failure::new(code, self.error_message.clone().unwrap_or_default())
    }
}

/// An artifact as in [`TASK_COLUMNS`].
#[derive(Deserialize)]
struct ArtifactRow {
    role: String,
    key: String,
    mime: String,
    bytes: u64,
    width: Option<u32>,
    height: Option<u32>,
    duration: Option<f64>,
    note: Option<String>,
}

impl ArtifactRow {
    fn into_artifact(self) -> Option<Artifact> {
        let Self { role, key, mime, bytes, width, height, duration, note } = self;
        let role: OutputRole = role.parse().ok()?;
        Some(Artifact { role, key: FileName::parse(&key)?, mime, bytes, width, height, duration, note })
    }
}
