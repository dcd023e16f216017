//! Events of tasks.

use ltx2_types::{Progress, TaskId};
use sqlx::SqliteConnection;

use super::database::Database;
use crate::StoreError;
use crate::clock::now;
use crate::task::{EventKind, TaskEvent};

#[derive(sqlx::FromRow)]
struct EventRow {
    number: i64,
    kind: String,
    phase: Option<String>,
    step: Option<u32>,
    total_steps: Option<u32>,
    at: i64,
}

impl EventRow {
    fn into_event(self, id: &TaskId) -> Result<TaskEvent, StoreError> {
        let unknown = || StoreError::unreadable(id.as_str(), format!("unknown event {}", self.kind));
        let kind = self.kind.parse().map_err(|_| unknown())?;
        let phase = self.phase.as_deref().and_then(|phase| phase.parse().ok());
        let progress = phase.zip(self.step).zip(self.total_steps);
        let progress = progress.map(|((phase, step), total_steps)| Progress { phase, step, total_steps });
        Ok(TaskEvent { number: u64::try_from(self.number).unwrap_or_default(), kind, progress, at: self.at })
    }
}

impl Database {
    /// Returns the events of `id` after event `number`, oldest first.
    pub(crate) async fn events_after(&self, id: &TaskId, number: u64) -> Result<Vec<TaskEvent>, StoreError> {
        let sql = "SELECT number, kind, phase, step, total_steps, at FROM task_events
                   WHERE task = ? AND number > ? ORDER BY number";
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let rows: Vec<EventRow> = sqlx::query_as(sql).bind(id.as_str()).bind(number).fetch_all(&self.reader).await?;
        rows.into_iter().map(|row| row.into_event(id)).collect()
    }
}

/// Appends an event to `task`.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    task: &TaskId,
    kind: EventKind,
    progress: Option<Progress>,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO task_events (task, number, kind, phase, step, total_steps, at)
               VALUES (?1, (SELECT coalesce(max(number), 0) + 1 FROM task_events WHERE task = ?1), ?2, ?3, ?4, ?5, ?6)";
    sqlx::query(sql)
        .bind(task.as_str())
        .bind(kind.name())
        .bind(progress.map(|at| at.phase.name()))
        .bind(progress.map(|at| at.step))
        .bind(progress.map(|at| at.total_steps))
        .bind(now())
        .execute(connection)
        .await?;
    Ok(())
}
