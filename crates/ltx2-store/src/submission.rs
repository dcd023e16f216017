//! Submissions: requests of clients with their inputs and settings.

use std::collections::HashSet;
use std::time::Duration;

use ltx2_types::{InputRef, PlanSummary, TaskId, ValidRequest};

use crate::FileName;

/// A task to queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// The request.
    pub request: ValidRequest,
    /// Summary of its plan, whose cost drives the expected time.
    pub plan: Option<PlanSummary>,
    /// The uploads that the request refers to.
    pub inputs: Vec<Upload>,
    /// Priority; higher runs first, equal ones run in order of submission.
    pub priority: i32,
    /// Idempotency key: a repeated submission returns the first one's task.
    pub key: Option<SubmissionKey>,
    /// Content of a submission without a key, by which a declared repetition is recognized.
    pub content: Option<SubmissionContent>,
    /// Receiver of a call when the task has ended.
    pub callback: Option<Webhook>,
    /// API dialect of the client.
    pub dialect: Option<String>,
    /// Owner of the task.
    pub owner: Option<String>,
    /// Maximum of queued tasks; a longer queue refuses the submission.
    pub max_waiting: Option<u32>,
}

impl Submission {
    /// Returns a submission of `request` with priority 0 and no options.
    pub fn new(request: ValidRequest, inputs: Vec<Upload>) -> Self {
        Self {
            request,
            plan: None,
            inputs,
            priority: 0,
            key: None,
            content: None,
            callback: None,
            dialect: None,
            owner: None,
            max_waiting: None,
        }
    }

    /// Whether the uploads of the request are exactly the files of the submission.
    pub(crate) fn has_its_uploads(&self) -> bool {
        let inputs = self.request.task.inputs();
        let named: HashSet<&str> = inputs
            .iter()
            .filter_map(|input| match input.source {
                InputRef::Upload(name) => Some(name.as_str()),
                InputRef::Asset(_) | InputRef::Result(_) => None,
            })
            .collect();
        named == self.inputs.iter().map(|input| input.name().as_str()).collect()
    }

    /// Returns the assets and results that the request refers to.
    pub(crate) fn references(&self) -> HashSet<InputRef> {
        let sources = self.request.task.inputs().into_iter().map(|input| input.source);
        sources.filter(|source| !matches!(source, InputRef::Upload(_))).cloned().collect()
    }
}

/// Idempotency key of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmissionKey {
    /// The key that the client sent.
    pub key: String,
    /// Hash of the request; equal for equal requests only.
    pub fingerprint: String,
}

/// Content of a submission without a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmissionContent {
    /// Hash of the request; equal for equal requests only.
    pub fingerprint: String,
    /// Whether the client repeats a submission whose response it did not get: the task of an equal submission of the
    /// same owner and dialect within this time is returned. `None` for a new submission.
    pub repeats_within: Option<Duration>,
}

/// Receiver of a call when a task has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// URL to call.
    pub url: String,
    /// Base of the URLs in the call: the address of this server as the client knows it.
    pub base: String,
}

/// Outcome of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// A new task.
    Queued(TaskId),
    /// The task of an earlier submission with the same key, or that this one repeats.
    Known(TaskId),
}

impl Submitted {
    /// Returns the task.
    pub fn id(&self) -> &TaskId {
        match self {
            Self::Queued(id) | Self::Known(id) => id,
        }
    }
}

/// A file that comes with a submission, stored until the task has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    name: FileName,
    bytes: Vec<u8>,
}

impl Upload {
    /// Returns an upload of `bytes` under a random name.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { name: FileName::random_input(), bytes }
    }

    /// Returns the name by which the request refers to the file.
    pub fn name(&self) -> &FileName {
        &self.name
    }

    /// Returns the reference for the request.
    pub fn source(&self) -> InputRef {
        InputRef::Upload(self.name.to_string())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A webhook call that is due, leased to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueWebhook {
    /// The ended task.
    pub task: TaskId,
    /// Receiver.
    pub webhook: Webhook,
    /// Number of earlier attempts.
    pub attempts: u32,
    /// End of the lease, UTC milliseconds; identifies it.
    pub(crate) leased_until: i64,
}
