//! Tasks whose worker died.

use ltx2_types::{Failure, FailureCode};
use sqlx::SqliteConnection;

use crate::commit::Effect;
use crate::events::{self, EventKind};
use crate::lease::note_end;
use crate::record::to_word;
use crate::store::now;
use crate::{FileName, Store, StoreError, TaskId};

/// How often a task is started before it is given up; a task that brings the process down must not do so for ever.
pub const MAX_ATTEMPTS: u32 = 3;

/// What is told of a task that someone stopped.
pub(crate) const CANCELLED: &str = "cancelled";

#[derive(sqlx::FromRow)]
struct Lapsed {
    id: String,
    attempts: u32,
    cancel_requested: bool,
    result_file: Option<String>,
    thumbnail_file: Option<String>,
}

/// How a lapsed task goes on.
enum Fate {
    /// Its result was in place, of so many bytes; only the note of it is missing.
    Completed(u64),
    Failed(Failure),
    Queued,
}

impl Store {
    /// Ends leases that ran out by `cutoff`: a task whose result is in place is completed, the others are queued again,
    /// or given up after [`MAX_ATTEMPTS`]. Returns how many there were.
    pub(crate) async fn take_back_lapsed(&self, cutoff: i64) -> Result<usize, StoreError> {
        let sql = "SELECT id, attempts, cancel_requested, result_file, thumbnail_file FROM tasks
                   WHERE state = 'running' AND lease_expires_at <= ?";
        let lapsed: Vec<Lapsed> = sqlx::query_as(sql).bind(cutoff).fetch_all(&self.shared.pool).await?;
        for task in &lapsed {
            let fate = self.fate(task);
            let mut transaction = self.shared.pool.begin_with("BEGIN IMMEDIATE").await?;
            let Some(effect) = settle(&mut transaction, task, &fate, cutoff).await? else { continue };
            match TaskId::parse(&task.id) {
                Some(id) => self.commit(transaction, &id, effect).await?,
                // Nobody can ask for it.
                None => transaction.commit().await?,
            }
            let id = &task.id;
            match fate {
                Fate::Completed(_) => tracing::info!(task = id, "task {id} was completed when its worker stopped"),
                Fate::Failed(failure) => tracing::error!(task = id, "task {id} failed: {failure}"),
                Fate::Queued => tracing::info!(task = id, "task {id} goes back to the queue: its worker stopped"),
            }
        }
        Ok(lapsed.len())
    }

    fn fate(&self, task: &Lapsed) -> Fate {
        if let Some(bytes) = self.size_in_place(task) {
            return Fate::Completed(bytes);
        }
        if task.cancel_requested {
            return Fate::Failed(Failure::new(FailureCode::Cancelled, CANCELLED));
        }
        if task.attempts < MAX_ATTEMPTS {
            return Fate::Queued;
        }
        let given_up = format!("given up after {MAX_ATTEMPTS} starts: each time the server stopped before the end");
        Fate::Failed(Failure::new(FailureCode::Internal, given_up))
    }

    /// Bytes of the task's files, if all that were announced are there. Files get their names once they are whole.
    fn size_in_place(&self, task: &Lapsed) -> Option<u64> {
        let video = task.result_file.as_deref()?;
        let size = |name: &str| Some(std::fs::metadata(self.output_path(&FileName::parse(name)?)).ok()?.len());
        Some(size(video)? + task.thumbnail_file.as_deref().map_or(Some(0), size)?)
    }
}

/// Writes `fate`, unless the lease was renewed meanwhile.
async fn settle(
    connection: &mut SqliteConnection,
    task: &Lapsed,
    fate: &Fate,
    cutoff: i64,
) -> Result<Option<Effect>, StoreError> {
    let sql = "UPDATE tasks SET state = ?1, error_code = ?2, error_message = ?3, finished_at = ?4, result_bytes = ?5,
                   result_file = CASE WHEN ?1 = 'completed' THEN result_file END,
                   thumbnail_file = CASE WHEN ?1 = 'completed' THEN thumbnail_file END,
                   pipeline = CASE WHEN ?1 = 'completed' THEN pipeline END,
                   phase = NULL, step = NULL, total_steps = NULL,
                   lease_owner = NULL, lease_token = NULL, lease_expires_at = NULL
               WHERE id = ?6 AND state = 'running' AND lease_expires_at <= ?7";
    let (state, kind, failure, bytes) = match fate {
        Fate::Completed(bytes) => ("completed", EventKind::Completed, None, i64::try_from(*bytes).ok()),
        Fate::Failed(failure) => ("failed", EventKind::Failed, Some(failure), None),
        Fate::Queued => ("queued", EventKind::Queued, None, None),
    };
    let written = sqlx::query(sql)
        .bind(state)
        .bind(failure.map(|failure| to_word(failure.code)).transpose()?)
        .bind(failure.map(|failure| failure.message.as_str()))
        .bind(kind.is_last().then(now))
        .bind(bytes)
        .bind(&task.id)
        .bind(cutoff)
        .execute(&mut *connection)
        .await?;
    if written.rows_affected() == 0 {
        return Ok(None);
    }
    if kind.is_last() {
        return Ok(Some(Effect::Ended(note_end(connection, &task.id, kind).await?)));
    }
    events::note(connection, &task.id, kind, None).await?;
    Ok(Some(Effect::Queued(None)))
}
