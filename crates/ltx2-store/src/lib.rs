//! Durable tasks and their files: a SQLite database and two folders in one data folder. The only place that knows SQL.
//!
//! A task that [`Store::enqueue`] returned survives a crash of the process and of the machine. A worker takes tasks with
//! [`Store::claim`] and holds each by a [`Lease`] until it ends or gives it back.

mod error;
mod files;
mod lease;
mod names;
mod queue;
mod record;
mod store;

pub use error::StoreError;
pub use lease::{Claim, Lease, MAX_ATTEMPTS};
pub use names::{FileName, TaskId};
pub use record::{Artifact, InputFile, TaskRecord, TaskStatus};
pub use store::Store;
