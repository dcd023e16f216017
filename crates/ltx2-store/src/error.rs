//! What can go wrong in the store.

use std::io;
use std::path::PathBuf;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the data folder open; two would run each other's tasks.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// A file or folder could not be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is full.
    #[error("the disk is full: {0}")]
    DiskFull(String),
    /// The database refused.
    #[error("task database: {0}")]
    Database(sqlx::Error),
    /// The database could not be brought to this version's schema.
    #[error("task database schema: {0}")]
    Schema(#[from] sqlx::migrate::MigrateError),
    /// The request does not fit into the database's form.
    #[error("the request cannot be stored: {0}")]
    Encode(#[from] serde_json::Error),
    /// A row holds something that this version does not know.
    #[error("task {id} cannot be read: {reason}")]
    Unreadable {
        /// The row's task.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The request names inputs other than those that came with it.
    #[error("the request's inputs are not the files that came with it")]
    InputsMismatch,
    /// As many tasks wait as may.
    #[error("{waiting} tasks are waiting, and at most {most} may")]
    QueueFull {
        /// Those that wait.
        waiting: i64,
        /// Those that may.
        most: u32,
    },
    /// The submission's key stands for another request.
    #[error("the idempotency key was used for a different request")]
    KeyReused,
    /// The caller's lease ran out and the task went elsewhere.
    #[error("the lease on task {0} is lost")]
    LeaseLost(crate::TaskId),
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
}

/// SQLite's result code for a disk without room, and for a write that the system refused part of the way.
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
