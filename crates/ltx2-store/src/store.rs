//! Opening the data folder, and where its files are.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::{Notify, broadcast};

use crate::changes::{self, Change};
use crate::events::RecentEvents;
use crate::files::{self, Files};
use crate::memory::Memory;
use crate::previews::Previews;
use crate::retention::Held;
use crate::turns::Turns;
use crate::{FileName, StoreError};

/// Tasks and files in one data folder, which this process has to itself. Clones share it.
#[derive(Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) pool: SqlitePool,
    pub(crate) files: Files,
    pub(crate) queued: Notify,
    pub(crate) webhook_due: Notify,
    pub(crate) changes: broadcast::Sender<Change>,
    pub(crate) turns: Turns,
    pub(crate) memory: Memory,
    pub(crate) recent_events: RecentEvents,
    pub(crate) held: Held,
    pub(crate) previews: Previews,
}

impl Store {
    /// Opens `data_dir`, creating what is missing. Tasks that a dead process left running are queued again.
    pub async fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let files = blocking({
            let data_dir = data_dir.to_path_buf();
            move || Files::open(&data_dir)
        })
        .await?;
        let pool = connect(&files.database()).await?;
        sqlx::migrate!("./migrations").run(&pool).await?;
        let shared = Shared {
            pool,
            files,
            queued: Notify::new(),
            webhook_due: Notify::new(),
            changes: changes::channel(),
            turns: Turns::default(),
            memory: Memory::default(),
            recent_events: RecentEvents::default(),
            held: Held::default(),
            previews: Previews::default(),
        };
        let store = Self { shared: Arc::new(shared) };
        store.recover().await?;
        Ok(store)
    }

    /// Ends the database's connections, writing its log back into the database file.
    pub async fn close(&self) {
        self.shared.pool.close().await;
    }

    /// Where the results are.
    pub fn outputs_dir(&self) -> PathBuf {
        self.shared.files.outputs()
    }

    /// Where the result `name` is, or is to be.
    pub fn output_path(&self, name: &FileName) -> PathBuf {
        self.outputs_dir().join(name.as_str())
    }

    /// Where the input `name` is.
    pub fn input_path(&self, name: &FileName) -> PathBuf {
        self.shared.files.inputs().join(name.as_str())
    }

    /// Returns when a task was queued since the last call, or at the next one.
    pub async fn wait_for_queued(&self) {
        self.shared.queued.notified().await;
    }

    async fn recover(&self) -> Result<(), StoreError> {
        // Whoever held these leases is dead: the lock on the folder is ours.
        let lapsed = self.take_back_lapsed(i64::MAX).await?;
        if lapsed > 0 {
            tracing::info!(tasks = lapsed, "{lapsed} tasks were running when the server last stopped");
        }
        let open = "SELECT file FROM task_inputs JOIN tasks ON tasks.id = task WHERE state IN ('queued', 'running')";
        let keep: Vec<String> = sqlx::query_scalar(open).fetch_all(&self.shared.pool).await?;
        let folder = self.shared.files.inputs();
        blocking(move || files::sweep(&folder, &HashSet::from_iter(keep), |_| true)).await?;
        let results = "SELECT result_file FROM tasks WHERE state = 'completed' UNION ALL
                       SELECT thumbnail_file FROM tasks WHERE state = 'completed' AND thumbnail_file IS NOT NULL";
        let keep: Vec<String> = sqlx::query_scalar(results).fetch_all(&self.shared.pool).await?;
        let folder = self.shared.files.outputs();
        // What a person put there is theirs.
        let is_ours = |name: &str| FileName::parse(name).is_some_and(|name| name.task().is_some());
        blocking(move || files::sweep(&folder, &HashSet::from_iter(keep), is_ours)).await
    }
}

async fn connect(database: &Path) -> Result<SqlitePool, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(10));
    // A file does not go away as a database server may, so that there is no use in asking before each query.
    let pool = SqlitePoolOptions::new().max_connections(4).test_before_acquire(false);
    Ok(pool.connect_with(options).await?)
}

/// UTC milliseconds.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Runs file work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
