//! What happened to a task, numbered, so that whoever was away can read on.

use std::collections::HashMap;
use std::sync::Arc;

use ltx2_types::Progress;
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use crate::memory::Ticket;
use crate::record::{from_word, to_word, unreadable};
use crate::store::now;
use crate::{Store, StoreError, TaskId};

/// One thing that happened to a task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskEvent {
    /// 1 is the task's first; each next one is higher by 1.
    pub number: u64,
    /// What happened.
    pub kind: EventKind,
    /// How far the run was, where that is what happened.
    pub progress: Option<Progress>,
    /// When, UTC milliseconds.
    pub at: i64,
}

/// What can happen to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// It waits, for the first time or again.
    Queued,
    /// A worker took it.
    Started,
    /// A part of the run began.
    Stage,
    /// A step of that part is done.
    Step,
    /// It has a result.
    Completed,
    /// It ended without one.
    Failed,
}

impl EventKind {
    /// Whether nothing comes after it.
    pub fn is_last(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

/// Events as they were last read, so that a hundred who watch one task cost the database no more than one.
#[derive(Default)]
pub(crate) struct RecentEvents(tokio::sync::Mutex<HashMap<TaskId, Recent>>);

struct Recent {
    ticket: Ticket,
    after: u64,
    events: Arc<[TaskEvent]>,
}

/// Most tasks of which events are kept.
const MOST_RECENT: usize = 64;

type EventRow = (i64, String, Option<String>, Option<u32>, Option<u32>, i64);

impl Store {
    /// What happened to `id` after its event `number`, oldest first.
    pub async fn events_after(&self, id: &TaskId, number: u64) -> Result<Arc<[TaskEvent]>, StoreError> {
        // Those who come meanwhile wait for what this one reads.
        let mut recent = self.shared.recent_events.0.lock().await;
        let ticket = self.shared.memory.ticket(id);
        if let Some(known) = recent.get(id).filter(|known| known.after == number && known.ticket == ticket) {
            return Ok(known.events.clone());
        }
        let events: Arc<[TaskEvent]> = self.read_events(id, number).await?.into();
        if recent.len() >= MOST_RECENT {
            recent.clear();
        }
        if self.shared.memory.is_current(&ticket) {
            recent.insert(id.clone(), Recent { ticket, after: number, events: events.clone() });
        }
        Ok(events)
    }

    async fn read_events(&self, id: &TaskId, number: u64) -> Result<Vec<TaskEvent>, StoreError> {
        let sql = "SELECT number, kind, phase, step, total_steps, at FROM task_events
                   WHERE task = ? AND number > ? ORDER BY number";
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let rows: Vec<EventRow> =
            sqlx::query_as(sql).bind(id.as_str()).bind(number).fetch_all(&self.shared.pool).await?;
        rows.into_iter().map(|row| event(id, row)).collect()
    }
}

fn event(id: &TaskId, (number, kind, phase, step, total, at): EventRow) -> Result<TaskEvent, StoreError> {
    let kind = from_word(&kind).ok_or_else(|| unreadable(id.as_str(), &format!("it has an event {kind}")))?;
    let phase = phase.as_deref().and_then(from_word);
    let progress = phase.zip(step).zip(total).map(|((phase, step), total_steps)| Progress { phase, step, total_steps });
    Ok(TaskEvent { number: u64::try_from(number).unwrap_or_default(), kind, progress, at })
}

/// Notes that `kind` happened to `task`, as part of a transaction.
pub(crate) async fn note(
    connection: &mut SqliteConnection,
    task: &str,
    kind: EventKind,
    progress: Option<Progress>,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO task_events (task, number, kind, phase, step, total_steps, at)
               VALUES (?1, (SELECT coalesce(max(number), 0) + 1 FROM task_events WHERE task = ?1), ?2, ?3, ?4, ?5, ?6)";
    sqlx::query(sql)
        .bind(task)
        .bind(to_word(kind)?)
        .bind(progress.map(|at| to_word(at.phase)).transpose()?)
        .bind(progress.map(|at| at.step))
        .bind(progress.map(|at| at.total_steps))
        .bind(now())
        .execute(connection)
        .await?;
    Ok(())
}
