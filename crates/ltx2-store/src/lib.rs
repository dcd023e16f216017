//! Durable tasks and their files: a SQLite database and two folders in one data folder. The only place that knows SQL.
//!
//! A task that [`Store::enqueue`] returned survives a crash of the process and of the machine. A worker takes tasks with
//! [`Store::claim`] and holds each by a [`Lease`] until it ends or gives it back. What happened to a task is kept as
//! numbered [`TaskEvent`]s; whoever waits for them listens to [`Store::changes`].

mod changes;
mod commit;
mod error;
mod events;
mod files;
mod lapse;
mod lease;
mod listing;
mod memory;
mod names;
mod previews;
mod queue;
mod record;
mod removal;
mod retention;
mod store;
mod turns;
mod webhooks;

pub use changes::Change;
pub use error::StoreError;
pub use events::{EventKind, TaskEvent};
pub use lapse::MAX_ATTEMPTS;
pub use lease::{Claim, Lease};
pub use listing::{Cursor, Listed, OpenTasks, Page};
pub use ltx2_types::TaskId;
pub use names::{FileName, new_task_id};
pub use previews::PreviewViewer;
pub use queue::{Submission, SubmissionKey, Submitted, Webhook};
pub use record::{Artifact, InputFile, TaskRecord, TaskStatus};
pub use removal::Removal;
pub use retention::{Hold, Retention};
pub use store::Store;
pub use webhooks::DueWebhook;
