//! Connections to the database.

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Sqlite, SqliteConnection, Transaction};

use crate::StoreError;

static MIGRATOR: Migrator = sqlx::migrate!("src/sqlite/migrations");

/// Number of connections for reads.
const READERS: u32 = 4;
/// Maximum time to wait for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The task database.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    /// For reads.
    pub(super) reader: SqlitePool,
    /// The one connection for writes, so that writers of this process queue in order of arrival.
    pub(super) writer: SqlitePool,
}

impl Database {
    /// Opens the database file, creating it if it is missing. The schema may be of an earlier version.
    pub(crate) async fn connect(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = |connections| {
            // Connections to a file do not break, and `data_version` needs a stable one.
            let options = SqlitePoolOptions::new().max_connections(connections).test_before_acquire(false);
            options.idle_timeout(None).max_lifetime(None).after_release(|connection, _| Box::pin(is_usable(connection)))
        };
        let writer = pool(1).connect_with(options.clone()).await?;
        let reader = pool(READERS).connect_with(options).await?;
        Ok(Self { reader, writer })
    }

    /// Whether the database holds a schema of an earlier version.
    pub(crate) async fn is_outdated(&self) -> Result<bool, StoreError> {
        let table = "SELECT 1 FROM sqlite_master WHERE name = '_sqlx_migrations'";
        let found: Option<i64> = sqlx::query_scalar(table).fetch_optional(&self.writer).await?;
        if found.is_none() {
            return Ok(false);
        }
        let applied = "SELECT max(version) FROM _sqlx_migrations WHERE success";
        let applied: Option<i64> = sqlx::query_scalar(applied).fetch_one(&self.writer).await?;
        let latest = MIGRATOR.iter().map(|migration| migration.version).max();
        Ok(applied.is_some() && applied < latest)
    }

    /// Migrates the schema to this version.
    pub(crate) async fn migrate(&self) -> Result<(), StoreError> {
        Ok(MIGRATOR.run(&self.writer).await?)
    }

    /// Closes all connections and writes the write-ahead log back into the database file.
    pub(crate) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }

    /// Returns a number that changes with every commit of another process or store.
    pub(crate) async fn data_version(&self) -> Result<i64, StoreError> {
        // Of the only connection with which this store writes, so that its own commits do not count.
        Ok(sqlx::query_scalar("PRAGMA data_version").fetch_one(&self.writer).await?)
    }

    /// Begins a write transaction.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }
}

/// Whether a released connection can be used again. On a full disk SQLite rolls back by itself, after which the rollback of
/// the dropped transaction fails and leaves the connection in a state in which it begins no other transaction.
async fn is_usable(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    // Waits for the rollback.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}
