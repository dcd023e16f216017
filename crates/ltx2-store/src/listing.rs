//! Looking at tasks.

use std::sync::Arc;

use sqlx::{QueryBuilder, Sqlite};

use crate::memory::Recall;
use crate::record::{KnownTask, TaskRow};
use crate::{FileName, Store, StoreError, TaskId, TaskRecord};

/// Which tasks to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// All of them.
    All,
    /// Those that wait or run.
    Open,
    /// Those with a result.
    Completed,
    /// Those that ended without one.
    Failed,
}

impl Listed {
    fn states(self) -> &'static [&'static str] {
        match self {
            Self::All => &["queued", "running", "completed", "failed"],
            Self::Open => &["queued", "running"],
            Self::Completed => &["completed"],
            Self::Failed => &["failed"],
        }
    }
}

/// Some tasks, the newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The tasks.
    pub tasks: Vec<TaskRecord>,
    /// Where the next page begins; `None` when there is none.
    pub next: Option<Cursor>,
}

/// A place in a list, which stays where it is whatever is added in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(i64);

impl Cursor {
    /// Reads what [`Cursor::text`] wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('t')?;
        let is_hex = digits.len() == 16 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_hex.then(|| u64::from_str_radix(digits, 16).ok().and_then(|seq| i64::try_from(seq).ok()).map(Self))?
    }

    /// The cursor for a client to send back.
    pub fn text(self) -> String {
        format!("t{:016x}", self.0)
    }
}

/// How many tasks are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenTasks {
    /// Those that wait.
    pub waiting: u32,
    /// Those that run.
    pub running: u32,
}

impl Store {
    /// The task `id`, if there is one.
    pub async fn task(&self, id: &TaskId) -> Result<Option<TaskRecord>, StoreError> {
        match self.known_task(id).await? {
            Some(task) => Ok(Some(self.record(&task).await?)),
            None => Ok(None),
        }
    }

    /// From memory, where it has not been written since it came there.
    async fn known_task(&self, id: &TaskId) -> Result<Option<Arc<KnownTask>>, StoreError> {
        let ticket = match self.shared.memory.recall(id) {
            Recall::Known(task) => return Ok(Some(task)),
            Recall::Unknown(ticket) => ticket,
        };
        let sql = "SELECT * FROM tasks WHERE id = ?";
        let row: Option<TaskRow> = sqlx::query_as(sql).bind(id.as_str()).fetch_optional(&self.shared.pool).await?;
        let Some(row) = row else { return Ok(None) };
        let task = Arc::new(row.into_known()?);
        self.shared.memory.keep(id, &ticket, task.clone());
        Ok(Some(task))
    }

    /// At most `limit` tasks that are `listed`, the newest first, from `cursor` on.
    pub async fn tasks(&self, listed: Listed, cursor: Option<Cursor>, limit: u32) -> Result<Page, StoreError> {
        let below = cursor.map_or(i64::MAX, |Cursor(seq)| seq);
        let mut rows = self.rows_below(listed, below, i64::from(limit) + 1).await?;
        let is_more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| is_more).map(|row| Cursor(row.seq));
        let mut tasks = Vec::with_capacity(rows.len());
        for row in rows {
            tasks.push(self.record(&row.into_known()?).await?);
        }
        Ok(Page { tasks, next })
    }

    /// A query for each state, so that each is answered from an index however many tasks there are in the others.
    async fn rows_below(&self, listed: Listed, below: i64, limit: i64) -> Result<Vec<TaskRow>, StoreError> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM (");
        for (index, state) in listed.states().iter().enumerate() {
            query.push(if index == 0 { "" } else { " UNION ALL " });
            query.push("SELECT * FROM (SELECT * FROM tasks WHERE state = ").push_bind(*state);
            query.push(" AND seq < ").push_bind(below);
            query.push(" ORDER BY seq DESC LIMIT ").push_bind(limit).push(")");
        }
        query.push(") ORDER BY seq DESC LIMIT ").push_bind(limit);
        Ok(query.build_query_as().fetch_all(&self.shared.pool).await?)
    }

    async fn record(&self, task: &KnownTask) -> Result<TaskRecord, StoreError> {
        Ok(if task.is_open() { task.record_in(&*self.order().await?) } else { task.record() })
    }

    /// How many tasks wait and run.
    pub async fn open_tasks(&self) -> Result<OpenTasks, StoreError> {
        let sql = "SELECT (SELECT count(*) FROM tasks WHERE state = 'queued'),
                          (SELECT count(*) FROM tasks WHERE state = 'running')";
        let (waiting, running): (u32, u32) = sqlx::query_as(sql).fetch_one(&self.shared.pool).await?;
        Ok(OpenTasks { waiting, running })
    }

    /// Whether `name` is the result of a completed task.
    pub async fn is_output(&self, name: &FileName) -> Result<bool, StoreError> {
        let Some(id) = name.task() else { return Ok(false) };
        let sql = "SELECT 1 FROM tasks WHERE id = ? AND state = 'completed' AND ? IN (result_file, thumbnail_file)";
        let query = sqlx::query_scalar(sql).bind(id.as_str()).bind(name.as_str());
        let found: Option<i64> = query.fetch_optional(&self.shared.pool).await?;
        Ok(found.is_some())
    }
}
