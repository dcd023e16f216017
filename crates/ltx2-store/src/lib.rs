//! Durable tasks and their files, in one data folder: a SQLite database and folders of uploads, outputs and assets.
//!
//! [`Store::submit`] queues a task durably. A worker takes it with [`Store::claim`], holds it by a [`Lease`] that
//! heartbeats renew, and ends it with [`Store::complete`] or [`Store::fail`]. Events of a task are numbered
//! ([`Store::events_after`]), and [`Store::changes`] notifies of new ones.
//!
//! Several processes may open one folder. Nothing is cached: every read is answered by the database, through an index.
//! Notifications between processes are hints from polling its version. All SQL is in `sqlite`.

mod asset;
mod assets;
mod cancel;
mod clock;
mod error;
mod files;
mod hold;
mod ids;
mod lease;
mod notify;
mod previews;
mod query;
mod retention;
mod spawn;
mod sqlite;
mod store;
mod submission;
mod submit;
mod task;
mod task_query;
mod webhooks;
mod work;

pub use asset::{Asset, AssetMedia, LibraryCursor, LibraryItem, LibraryPage, NewAsset};
pub use cancel::Removal;
pub use clock::now;
pub use error::StoreError;
pub use files::WorkerLock;
pub use hold::Hold;
pub use ids::{FileName, new_task_id};
pub use lease::{Claim, Lease, ReleaseReason, Released, Signals};
pub use ltx2_types::{AssetId, TaskId};
pub use notify::Changes;
pub use previews::PreviewViewer;
pub use retention::Retention;
pub use store::{Store, StoreOptions};
pub use submission::{DueWebhook, Submission, SubmissionContent, SubmissionKey, Submitted, Upload, Webhook};
pub use task::{Artifact, Completion, EventKind, TaskEvent, TaskRecord, TaskState, TaskStatus};
pub use task_query::{Cursor, OpenTasks, Order, Page, TaskQuery};
pub use work::MAX_ENGINE_CRASHES;
