//! Tasks as readers see them.

use ltx2_types::{Failure, OutputInfo, OutputRole, Pipeline, PlanSummary, Progress, TaskId, ValidRequest};

use crate::FileName;

/// A task with its queue position and expected time.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRecord {
    /// Identifier.
    pub id: TaskId,
    /// The request; `None` if another version stored it in a form that this version cannot read.
    pub request: Option<ValidRequest>,
    /// Summary of the plan; `None` if the task was submitted without one.
    pub plan: Option<PlanSummary>,
    /// State with the data of that state.
    pub status: TaskStatus,
    /// Priority; higher runs first.
    pub priority: i32,
    /// Number of starts.
    pub attempts: u32,
    /// Whether the task runs and was asked to stop.
    pub is_stopping: bool,
    /// Expected milliseconds until the task ends, from the measured time of recent tasks.
    pub expected_ms: Option<i64>,
    /// Number of the latest preview of the current run; `None` without a preview.
    pub preview: Option<u32>,
    /// API dialect that the task was submitted in.
    pub dialect: Option<String>,
    /// Owner of the task.
    pub owner: Option<String>,
    /// Time of submission, UTC milliseconds.
    pub created_at: i64,
    /// Time of the last start, UTC milliseconds.
    pub started_at: Option<i64>,
    /// Time of the end, UTC milliseconds.
    pub finished_at: Option<i64>,
}

/// State of a task with the data of that state.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskStatus {
    /// Waits for a worker.
    Queued {
        /// Queue position; 1 is next.
        position: u32,
    },
    /// Runs on a worker.
    Running {
        /// Latest reported progress.
        progress: Option<Progress>,
    },
    /// Ended with a result.
    Completed(Completion),
    /// Ended without a result.
    Failed(Failure),
}

/// State of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::EnumString, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum TaskState {
    /// Waits for a worker.
    Queued,
    /// Runs on a worker.
    Running,
    /// Ended with a result.
    Completed,
    /// Ended without a result.
    Failed,
}

impl TaskState {
    /// Returns the name in the database.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Result of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// Output files.
    pub outputs: Vec<Artifact>,
    /// Pipeline that ran.
    pub pipeline: Pipeline,
    /// Enhanced prompt, if the request asked for one.
    pub enhanced_prompt: Option<String>,
}

impl Completion {
    /// Returns the first output of `role`.
    pub fn output(&self, role: OutputRole) -> Option<&Artifact> {
        self.outputs.iter().find(|output| output.role == role)
    }
}

/// A stored output file of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Artifact {
    /// Purpose of the file.
    pub role: OutputRole,
    /// Name in the outputs folder.
    pub key: FileName,
    /// Media type.
    pub mime: String,
    /// Size, bytes. [`crate::Store::complete`] replaces it with the size on disk.
    pub bytes: u64,
    /// Width, pixels.
    pub width: Option<u32>,
    /// Height, pixels.
    pub height: Option<u32>,
    /// Duration, seconds.
    pub duration: Option<f64>,
    /// Difference from the request, for people.
    pub note: Option<String>,
}

impl Artifact {
    /// Returns the artifact for a file `key` with the properties `info`.
    pub fn new(key: FileName, info: OutputInfo) -> Self {
        let OutputInfo { role, mime, bytes, width, height, duration, note } = info;
        Self { role, key, mime, bytes, width, height, duration, note }
    }
}

/// An event of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskEvent {
    /// Sequence number within the task, from 1.
    pub number: u64,
    /// Kind of event.
    pub kind: EventKind,
    /// Progress, for [`EventKind::Stage`] and [`EventKind::Step`].
    pub progress: Option<Progress>,
    /// Time, UTC milliseconds.
    pub at: i64,
}

/// Kinds of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum EventKind {
    /// The task was queued, for the first time or again.
    Queued,
    /// A worker started the task.
    Started,
    /// A phase of the run began.
    Stage,
    /// A step of the phase was completed.
    Step,
    /// The task ended with a result.
    Completed,
    /// The task ended without a result.
    Failed,
}

impl EventKind {
    /// Whether the task has ended, so that no event follows.
    pub fn is_last(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }

    /// Returns the name in the database.
    pub(crate) fn name(self) -> &'static str {
        self.into()
    }
}
