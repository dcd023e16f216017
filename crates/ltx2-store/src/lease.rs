//! Leases on running tasks.

use std::time::Duration;

use ltx2_types::{Failure, TaskId, ValidRequest};

/// A lease on a running task, renewed by heartbeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub(crate) task: TaskId,
    /// Random secret that is drawn at each claim.
    pub(crate) token: String,
    pub(crate) length: Duration,
}

impl Lease {
    /// Returns the task.
    pub fn task(&self) -> &TaskId {
        &self.task
    }

    /// Returns the time that the lease lasts after a heartbeat.
    pub fn length(&self) -> Duration {
        self.length
    }
}

/// A claimed task.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// Lease on the task.
    pub lease: Lease,
    /// The request to run.
    pub request: ValidRequest,
    /// Number of this start, from 1.
    pub attempt: u32,
}

/// Requests of clients to a running task, returned by a heartbeat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signals {
    /// Whether the task is to be cancelled.
    pub cancel: bool,
    /// Whether previews are wanted.
    pub previews: bool,
}

/// Reason for giving a running task back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseReason {
    /// The worker shuts down. The start is not counted.
    Shutdown,
    /// The engine crashed with this failure. The task fails after [`crate::MAX_ENGINE_CRASHES`] crashes.
    EngineCrash(Failure),
}

/// State of a task after its release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// The task is back in the queue, at its old position.
    Queued,
    /// The task has failed: its engine crashed too often.
    Failed(Failure),
}
