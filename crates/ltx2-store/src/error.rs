//! Errors of the store.

use std::io;
use std::path::PathBuf;

use ltx2_types::TaskId;

/// Error of a store operation.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the worker lock of the data folder.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// A file or folder could not be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The disk is full.
    #[error("the disk is full: {0}")]
    DiskFull(String),
    /// A statement failed.
    #[error("task database: {0}")]
    Database(sqlx::Error),
    /// The schema could not be migrated to this version.
    #[error("task database schema: {0}")]
    Schema(#[from] sqlx::migrate::MigrateError),
    /// The request could not be serialized.
    #[error("the request cannot be stored: {0}")]
    Encode(#[from] serde_json::Error),
    /// A row holds a value that this version does not know.
    #[error("task {id} cannot be read: {reason}")]
    Unreadable {
        /// Task of the row.
        id: String,
        /// The unknown value.
        reason: String,
    },
    /// The uploads of the request are not the files of the submission.
    #[error("the request's inputs are not the files that came with it")]
    InputsMismatch,
    /// An input does not exist, has expired or is not the result of a completed task.
    #[error("the input {0} does not exist")]
    MissingInput(String),
    /// A queued or running task uses the result that was to be deleted.
    #[error("the result of task {0} is an input of another task; delete it after that task has ended")]
    Referenced(TaskId),
    /// The queue has reached its maximum.
    #[error("{waiting} tasks are waiting, and at most {most} may")]
    QueueFull {
        /// Number of queued tasks.
        waiting: i64,
        /// Maximum of queued tasks.
        most: u32,
    },
    /// The idempotency key belongs to another request.
    #[error("the idempotency key was used for a different request")]
    KeyReused,
    /// The lease expired and the task was reclaimed, or the task has ended.
    #[error("the lease on task {0} is lost")]
    LeaseLost(TaskId),
}

impl StoreError {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull(format!("{}: {source}", path.display()))
            }
            _ => Self::File { path, source },
        }
    }

    pub(crate) fn unreadable(id: &str, reason: impl Into<String>) -> Self {
        Self::Unreadable { id: id.into(), reason: reason.into() }
    }
}

/// SQLite result codes of a full disk: `SQLITE_FULL`, and `SQLITE_IOERR_WRITE` for a partial write.
const FULL: [&str; 2] = ["13", "778"];

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code());
        match code {
            Some(code) if FULL.contains(&code.as_ref()) => Self::DiskFull(error.to_string()),
            _ => Self::Database(error),
        }
    }
}
