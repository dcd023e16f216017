//! Reads of tasks, lists and events.

use ltx2_types::TaskId;

use crate::task::{TaskEvent, TaskRecord};
use crate::task_query::{Cursor, OpenTasks, Page, TaskQuery};
use crate::{FileName, Store, StoreError};

impl Store {
    /// Returns task `id`.
    pub async fn task(&self, id: &TaskId) -> Result<Option<TaskRecord>, StoreError> {
        self.shared.database.task(id).await
    }

    /// Returns a page of the tasks that match `query`.
    pub async fn tasks(&self, query: &TaskQuery) -> Result<Page, StoreError> {
        if query.states.is_empty() {
            return Ok(Page { tasks: Vec::new(), next: None });
        }
        self.shared.database.tasks(query).await
    }

    /// Returns the cursor that continues a list after task `id`; `None` if there is no such task.
    pub async fn cursor_after(&self, id: &TaskId) -> Result<Option<Cursor>, StoreError> {
        self.shared.database.cursor_after(id).await
    }

    /// Returns the numbers of queued and running tasks.
    pub async fn open_tasks(&self) -> Result<OpenTasks, StoreError> {
        self.shared.database.open_tasks().await
    }

    /// Returns the events of `id` after event `number`, oldest first.
    pub async fn events_after(&self, id: &TaskId, number: u64) -> Result<Vec<TaskEvent>, StoreError> {
        self.shared.database.events_after(id, number).await
    }

    /// Whether `name` is an output of a completed task.
    pub async fn is_output(&self, name: &FileName) -> Result<bool, StoreError> {
        match name.task() {
            Some(id) => self.shared.database.is_output(&id, name).await,
            None => Ok(false),
        }
    }
}
