//! Queue positions and expected times.

use sqlx::SqliteConnection;

use super::rows::{TaskRow, Timing};
use crate::StoreError;
use crate::clock::now;
use crate::task::TaskState;

/// Tasks that run before a queued task.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
struct Ahead {
    tasks: i64,
    cost: i64,
}

/// Speed of the worker and its current work.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
struct Speed {
    /// Milliseconds per unit of cost, from the last completed tasks; `None` without any.
    pace: Option<f64>,
    /// Expected milliseconds until the running tasks end.
    running: f64,
}

/// Returns the timings of `rows`, in their order.
pub(super) async fn timings(connection: &mut SqliteConnection, rows: &[TaskRow]) -> Result<Vec<Timing>, StoreError> {
    let mut timings = vec![Timing::default(); rows.len()];
    let mut queued = Vec::new();
    let mut running = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        match row.state()? {
            TaskState::Queued => queued.push(index),
            TaskState::Running => running.push(index),
            TaskState::Completed | TaskState::Failed => {}
        }
    }
    if queued.is_empty() && running.is_empty() {
        return Ok(timings);
    }
    let speed = speed(connection).await?;
    for index in running {
        timings[index].expected_ms = speed.until_end_of_running(&rows[index]);
    }
    // In queue order, so that each task starts from the one before.
    queued.sort_by_key(|&index| (-rows[index].priority, rows[index].seq));
    let mut previous: Option<(&TaskRow, Ahead)> = None;
    for index in queued {
        let row = &rows[index];
        let ahead = match previous {
            Some((other, ahead)) if other.priority == row.priority => ahead.and(between(connection, other, row).await?),
            _ => ahead_of(connection, row).await?,
        };
        let position = u32::try_from(ahead.tasks + 1).unwrap_or(u32::MAX);
        timings[index] = Timing { position, expected_ms: speed.until_end_of_queued(row, ahead) };
        previous = Some((row, ahead));
    }
    Ok(timings)
}

/// Counts the tasks ahead of `row` in the covering index `tasks_by_queue_order`.
async fn ahead_of(connection: &mut SqliteConnection, row: &TaskRow) -> Result<Ahead, StoreError> {
    let sql = "SELECT sum(tasks) AS tasks, sum(cost) AS cost FROM (
                   SELECT count(*) AS tasks, coalesce(sum(cost), 0) AS cost FROM tasks
                   WHERE state = 'queued' AND priority > ?1
                   UNION ALL
                   SELECT count(*), coalesce(sum(cost), 0) FROM tasks
                   WHERE state = 'queued' AND priority = ?1 AND seq < ?2)";
    Ok(sqlx::query_as(sql).bind(row.priority).bind(row.seq).fetch_one(connection).await?)
}

/// Counts the tasks from `first` up to `last`, which has the same priority.
async fn between(connection: &mut SqliteConnection, first: &TaskRow, last: &TaskRow) -> Result<Ahead, StoreError> {
    let sql = "SELECT count(*) AS tasks, coalesce(sum(cost), 0) AS cost FROM tasks
               WHERE state = 'queued' AND priority = ? AND seq >= ? AND seq < ?";
    Ok(sqlx::query_as(sql).bind(first.priority).bind(first.seq).bind(last.seq).fetch_one(connection).await?)
}

async fn speed(connection: &mut SqliteConnection) -> Result<Speed, StoreError> {
    let sql = "WITH recent AS (SELECT finished_at - started_at AS took, cost FROM tasks INDEXED BY tasks_by_completion
                               WHERE state = 'completed' AND cost > 0 AND started_at IS NOT NULL
                               ORDER BY finished_at DESC LIMIT 20),
                    speed AS (SELECT CAST(sum(took) AS REAL) / sum(cost) AS pace FROM recent)
               SELECT pace, CAST(coalesce((SELECT sum(max(pace * cost - (? - started_at), 0)) FROM tasks
                                           WHERE state = 'running'), 0) AS REAL) AS running
               FROM speed";
    Ok(sqlx::query_as(sql).bind(now()).fetch_one(connection).await?)
}

impl Ahead {
    fn and(self, other: Self) -> Self {
        Self { tasks: self.tasks + other.tasks, cost: self.cost.saturating_add(other.cost) }
    }
}

impl Speed {
    fn until_end_of_queued(self, row: &TaskRow, ahead: Ahead) -> Option<i64> {
        Some((self.running + self.pace? * ahead.cost.saturating_add(row.cost) as f64) as i64)
    }

    fn until_end_of_running(self, row: &TaskRow) -> Option<i64> {
        let total = self.pace? * row.cost as f64;
        Some((total as i64 - (now() - row.started_at?)).max(0))
    }
}
