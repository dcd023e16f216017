//! The store: database, files and notifications of one data folder.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use ltx2_types::{InputRef, TaskId};

use crate::files::{Files, UnusedFiles, WorkerLock};
use crate::hold::Holds;
use crate::notify::{Change, Changes, Notifier, POLL_INTERVAL};
use crate::spawn::blocking;
use crate::sqlite::Database;
use crate::{FileName, StoreError};

/// Tasks and files of one data folder. Clones share its connections.
///
/// Several processes may open one folder. Of the workers, only one process may hold the [`WorkerLock`].
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) database: Database,
    pub(crate) files: Files,
    pub(crate) notifier: Notifier,
    pub(crate) holds: Holds,
    pub(crate) options: StoreOptions,
}

/// Options of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOptions {
    /// Maximum number of starts of a task whose worker stops before the task ends. Later the task fails.
    pub max_starts: u32,
}

impl Default for StoreOptions {
    /// 20 starts.
    fn default() -> Self {
        Self { max_starts: 20 }
    }
}

impl Store {
    /// Opens `data_dir` with default options.
    ///
    /// # Errors
    /// As [`Store::open_with`].
    pub async fn open(data_dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(data_dir, StoreOptions::default()).await
    }

    /// Opens `data_dir`. Creates missing folders and the database, and migrates a database of an earlier version.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if the database must be migrated while a worker of the earlier version runs.
    pub async fn open_with(data_dir: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        let data_dir = data_dir.to_path_buf();
        let (files, opening) = blocking(move || {
            let files = Files::open(&data_dir)?;
            let opening = files.lock_opening()?;
            Ok((files, opening))
        })
        .await?;
        let database = Database::connect(&files.database()).await?;
        let worker_lock = if database.is_outdated().await? { Some(files.lock_worker()?) } else { None };
        database.migrate().await?;
        drop((worker_lock, opening));
        let version = database.data_version().await?;
        let shared = Shared { database, files, notifier: Notifier::new(), holds: Holds::default(), options };
        let store = Self { shared: Arc::new(shared) };
        tokio::spawn(watch_commits(Arc::downgrade(&store.shared), version));
        Ok(store)
    }

    /// Takes the exclusive lock of the folder's only worker.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process or store holds the lock.
    pub fn lock_worker(&self) -> Result<WorkerLock, StoreError> {
        self.shared.files.lock_worker()
    }

    /// Closes the connections and writes the database's log back into its file.
    pub async fn close(&self) {
        self.shared.database.close().await;
    }

    /// Subscribes to changes from now on.
    pub fn changes(&self) -> Changes {
        self.shared.notifier.subscribe()
    }

    /// Returns the folder of output files.
    pub fn outputs_dir(&self) -> PathBuf {
        self.shared.files.outputs()
    }

    /// Returns the path of output file `name`.
    pub fn output_path(&self, name: &FileName) -> PathBuf {
        self.outputs_dir().join(name.as_str())
    }

    /// Returns the path of the file that `input` refers to.
    ///
    /// # Errors
    /// [`StoreError::MissingInput`] if the reference is invalid or its asset or result does not exist.
    pub async fn input_path(&self, input: &InputRef) -> Result<PathBuf, StoreError> {
        let Shared { database, files, .. } = &*self.shared;
        let path = match input {
            InputRef::Upload(name) => FileName::parse(name).map(|name| files.inputs().join(name.as_str())),
            InputRef::Asset(id) => {
                let asset = database.asset(id).await?;
                asset.map(|asset| files.assets().join(asset.key.as_str()))
            }
            InputRef::Result(id) => database.result_key(id).await?.map(|key| self.output_path(&key)),
        };
        path.ok_or_else(|| StoreError::MissingInput(input.to_string()))
    }

    /// Removes `unused` after its change was committed.
    pub(crate) async fn remove_files(&self, unused: UnusedFiles) {
        self.shared.files.remove_unused(unused).await;
    }

    /// Notifies waiters that the record or the events of `id` changed.
    pub(crate) fn notify_task(&self, id: &TaskId) {
        self.shared.notifier.send(Change::Task(id.clone()));
    }

    /// Notifies waiters that `id` was queued, started or ended.
    pub(crate) fn notify_queue(&self, id: &TaskId) {
        self.notify_task(id);
        self.shared.notifier.send(Change::Queue);
    }

    /// Notifies the worker that the signals of `id` changed.
    pub(crate) fn notify_signals(&self, id: &TaskId) {
        self.shared.notifier.send(Change::Signals(id.clone()));
    }
}

/// Notifies waiters of commits of other processes and stores, from database version `version` on.
async fn watch_commits(shared: Weak<Shared>, mut version: i64) {
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        let Some(shared) = shared.upgrade() else { return };
        match shared.database.data_version().await {
            Ok(current) => {
                if std::mem::replace(&mut version, current) != current {
                    shared.notifier.send(Change::Other);
                }
            }
            Err(StoreError::Database(sqlx::Error::PoolClosed)) => return,
            Err(error) => tracing::warn!(%error, "commits of other processes could not be noticed: {error}"),
        }
    }
}
