//! Old tasks and events, and the files that rows refer to.

use std::collections::HashSet;

use ltx2_types::TaskId;

use super::database::Database;
use crate::StoreError;

impl Database {
    /// Returns the tasks that ended by `time`.
    pub(crate) async fn ended_before(&self, time: i64) -> Result<Vec<TaskId>, StoreError> {
        let sql = "SELECT id FROM tasks WHERE finished_at <= ?";
        Ok(task_ids(sqlx::query_scalar(sql).bind(time).fetch_all(&self.reader).await?))
    }

    /// Returns the completed tasks that do not fit when the newest results fill `max_bytes`.
    pub(crate) async fn beyond(&self, max_bytes: u64) -> Result<Vec<TaskId>, StoreError> {
        let sql = "SELECT id FROM (
                       SELECT id, sum(result_bytes) OVER (ORDER BY finished_at DESC, seq DESC) AS bytes FROM (
                           SELECT id, finished_at, seq,
                                  (SELECT sum(bytes) FROM artifacts WHERE task = tasks.id) AS result_bytes
                           FROM tasks WHERE state = 'completed'))
                   WHERE bytes > ?";
        let max_bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
        Ok(task_ids(sqlx::query_scalar(sql).bind(max_bytes).fetch_all(&self.reader).await?))
    }

    /// Deletes the step events of the tasks that ended between the two times.
    pub(crate) async fn delete_steps(&self, since: i64, until: i64) -> Result<(), StoreError> {
        let sql = "DELETE FROM task_events WHERE kind = 'step' AND task IN
                       (SELECT id FROM tasks WHERE finished_at BETWEEN ? AND ?)";
        sqlx::query(sql).bind(since).bind(until).execute(&self.writer).await?;
        Ok(())
    }

    /// Returns the names of all uploads in use.
    pub(crate) async fn input_files(&self) -> Result<HashSet<String>, StoreError> {
        let names: Vec<String> = sqlx::query_scalar("SELECT file FROM task_inputs").fetch_all(&self.reader).await?;
        Ok(HashSet::from_iter(names))
    }

    /// Returns the names of all output files in use.
    pub(crate) async fn output_files(&self) -> Result<HashSet<String>, StoreError> {
        let names: Vec<String> = sqlx::query_scalar("SELECT key FROM artifacts").fetch_all(&self.reader).await?;
        Ok(HashSet::from_iter(names))
    }

    /// Returns the names of all files of assets.
    pub(crate) async fn asset_files(&self) -> Result<HashSet<String>, StoreError> {
        let names: Vec<String> = sqlx::query_scalar("SELECT key FROM assets").fetch_all(&self.reader).await?;
        Ok(HashSet::from_iter(names))
    }
}

fn task_ids(ids: Vec<String>) -> Vec<TaskId> {
    ids.iter().filter_map(|id| TaskId::parse(id)).collect()
}
