//! Reads of tasks and lists.

use ltx2_types::{OutputRole, TaskId};
use sqlx::{QueryBuilder, Sqlite};

use super::database::Database;
use super::queue_order::timings;
use super::rows::{TASK_COLUMNS, TaskRow};
use crate::task::TaskRecord;
use crate::task_query::{Cursor, OpenTasks, Order, Page, TaskQuery};
use crate::{FileName, StoreError};

impl Database {
    /// Returns task `id`.
    pub(crate) async fn task(&self, id: &TaskId) -> Result<Option<TaskRecord>, StoreError> {
        let mut connection = self.reader.acquire().await?;
        let mut query = QueryBuilder::<Sqlite>::new("SELECT ");
        query.push(TASK_COLUMNS).push(" FROM tasks WHERE id = ").push_bind(id.as_str());
        let row: Option<TaskRow> = query.build_query_as().fetch_optional(&mut *connection).await?;
        let Some(row) = row else { return Ok(None) };
        let timing = timings(&mut connection, std::slice::from_ref(&row)).await?[0];
        Ok(Some(row.into_record(timing)?))
    }

    /// Returns a page of the tasks that match `query`.
    pub(crate) async fn tasks(&self, query: &TaskQuery) -> Result<Page, StoreError> {
        let mut connection = self.reader.acquire().await?;
        let limit = query.limit as usize;
        let mut rows: Vec<TaskRow> = select(query).build_query_as().fetch_all(&mut *connection).await?;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| has_more).map(|row| Cursor(row.seq));
        let timings = timings(&mut connection, &rows).await?;
        let tasks = rows.into_iter().zip(timings).map(|(row, timing)| row.into_record(timing));
        Ok(Page { tasks: tasks.collect::<Result<_, _>>()?, next })
    }

    /// Returns the cursor that continues a list after task `id`.
    pub(crate) async fn cursor_after(&self, id: &TaskId) -> Result<Option<Cursor>, StoreError> {
        let query = sqlx::query_scalar("SELECT seq FROM tasks WHERE id = ?").bind(id.as_str());
        let seq: Option<i64> = query.fetch_optional(&self.reader).await?;
        Ok(seq.map(Cursor))
    }

    /// Counts the queued and running tasks.
    pub(crate) async fn open_tasks(&self) -> Result<OpenTasks, StoreError> {
        let sql = "SELECT (SELECT count(*) FROM tasks WHERE state = 'queued'),
                          (SELECT count(*) FROM tasks WHERE state = 'running')";
        let (waiting, running): (u32, u32) = sqlx::query_as(sql).fetch_one(&self.reader).await?;
        Ok(OpenTasks { waiting, running })
    }

    /// Whether `key` is an output of the completed task `id`.
    pub(crate) async fn is_output(&self, id: &TaskId, key: &FileName) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM artifacts JOIN tasks ON tasks.id = artifacts.task
                   WHERE artifacts.task = ? AND key = ? AND state = 'completed'";
        let query = sqlx::query_scalar(sql).bind(id.as_str()).bind(key.as_str());
        let found: Option<i64> = query.fetch_optional(&self.reader).await?;
        Ok(found.is_some())
    }

    /// Returns the file of the video of the completed task `id`.
    pub(crate) async fn result_key(&self, id: &TaskId) -> Result<Option<FileName>, StoreError> {
        let sql = "SELECT key FROM artifacts JOIN tasks ON tasks.id = artifacts.task
                   WHERE artifacts.task = ? AND role = ? AND state = 'completed'";
        let query = sqlx::query_scalar(sql).bind(id.as_str()).bind(OutputRole::Video.name());
        let key: Option<String> = query.fetch_optional(&self.reader).await?;
        Ok(key.as_deref().and_then(FileName::parse))
    }
}

/// Selects one row more than the page holds, with a sub-select per state, each of which is answered by an index.
fn select(page: &TaskQuery) -> QueryBuilder<Sqlite> {
    let limit = i64::from(page.limit) + 1;
    let (comparison, direction) = match page.order {
        Order::NewestFirst => ("<", "DESC"),
        Order::OldestFirst => (">", "ASC"),
    };
    let mut query = QueryBuilder::new("SELECT ");
    query.push(TASK_COLUMNS).push(" FROM (");
    for (index, state) in page.states.iter().enumerate() {
        query.push(if index == 0 { "" } else { " UNION ALL " });
        query.push("SELECT * FROM (SELECT * FROM tasks WHERE state = ").push_bind(state.name());
        if let Some(Cursor(seq)) = page.after {
            query.push(" AND seq ").push(comparison).push(" ").push_bind(seq);
        }
        for (column, value) in [("owner", &page.owner), ("dialect", &page.dialect)] {
            if let Some(value) = value {
                query.push(" AND ").push(column).push(" = ").push_bind(value.clone());
            }
        }
        query.push(" ORDER BY seq ").push(direction).push(" LIMIT ").push_bind(limit).push(")");
    }
    query.push(") AS tasks ORDER BY seq ").push(direction).push(" LIMIT ").push_bind(limit);
    query
}
