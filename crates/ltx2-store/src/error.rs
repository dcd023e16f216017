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
    /// The database refused.
    #[error("task database: {0}")]
    Database(#[from] sqlx::Error),
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
    /// The caller's lease ran out and the task went elsewhere.
    #[error("the lease on task {0} is lost")]
    LeaseLost(crate::TaskId),
}

impl StoreError {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
