//! Reading tasks: one by one and in pages.

use ltx2_store::{Page, TaskId, TaskQuery, TaskRecord};

use crate::error::ApiError;
use crate::state::Service;

/// Default number of tasks in a page.
pub(crate) const DEFAULT_PAGE: u32 = 20;
/// Maximum number of tasks in a page.
pub(crate) const MAX_PAGE: u32 = 100;

impl Service {
    /// Returns a task; `None` if it does not exist.
    pub(crate) async fn task(&self, id: &TaskId) -> Result<Option<TaskRecord>, ApiError> {
        Ok(self.store.task(id).await?)
    }

    /// Returns a page of tasks, of at most [`MAX_PAGE`].
    pub(crate) async fn list(&self, query: TaskQuery) -> Result<Page, ApiError> {
        let limit = query.limit.min(MAX_PAGE);
        Ok(self.store.tasks(&TaskQuery { limit, ..query }).await?)
    }
}
