//! Reading tasks: one by one and in pages.

use ltx2_store::{Cursor, Listed, Page, TaskId, TaskRecord};

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

    /// Returns a page of tasks, the newest first.
    pub(crate) async fn list(&self, listed: Listed, after: Option<Cursor>, limit: u32) -> Result<Page, ApiError> {
        Ok(self.store.tasks(listed, after, limit.min(MAX_PAGE)).await?)
    }
}
