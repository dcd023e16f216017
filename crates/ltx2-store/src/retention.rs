//! Removing what is old, or too much.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::store::now;
use crate::{FileName, Store, StoreError, TaskId};

/// How often [`Store::keep_house`] looks.
const INTERVAL: Duration = Duration::from_secs(60);
/// Single steps of ended tasks are kept this long, for those who read on after a break.
const STEPS_KEPT: Duration = Duration::from_secs(3600);

/// What is kept of ended tasks; `None` keeps everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Tasks are removed with their files this long after their end.
    pub max_age: Option<Duration>,
    /// While the results have more bytes than this, the oldest are removed.
    pub max_bytes: Option<u64>,
}

/// Files that are being read, and by how many.
pub(crate) type Held = Arc<Mutex<HashMap<TaskId, usize>>>;

/// Keeps a task's files from [`Retention`] until it is dropped.
#[derive(Debug)]
pub struct Hold {
    held: Held,
    task: TaskId,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.task) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.task);
            }
        }
    }
}

impl Store {
    /// Keeps the result `name` until the hold is dropped; `None` when it is not a result's name.
    pub fn hold(&self, name: &FileName) -> Option<Hold> {
        let task = name.task()?;
        let held = self.shared.held.clone();
        *held.lock().unwrap_or_else(PoisonError::into_inner).entry(task.clone()).or_default() += 1;
        Some(Hold { held, task })
    }

    /// Removes what `retention` does not keep, again and again.
    pub async fn keep_house(self, retention: Retention) {
        let mut steps_gone_until = i64::MIN;
        loop {
            let until = now().saturating_sub(millis(STEPS_KEPT));
            match self.forget_steps(steps_gone_until, until).await {
                Ok(()) => steps_gone_until = until,
                Err(error) => tracing::error!(%error, "old events cannot be removed: {error}"),
            }
            match self.expire(&retention).await {
                Ok(0) => {}
                Ok(tasks) => tracing::info!(tasks, "{tasks} tasks are removed: too old, or too many bytes"),
                Err(error) => tracing::error!(%error, "old tasks cannot be removed: {error}"),
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Removes what `retention` does not keep, except what is being read. Returns how many tasks went.
    pub async fn expire(&self, retention: &Retention) -> Result<usize, StoreError> {
        let mut unwanted = match retention.max_age {
            Some(age) => self.ended_before(now().saturating_sub(millis(age))).await?,
            None => Vec::new(),
        };
        if let Some(most) = retention.max_bytes {
            unwanted.extend(self.beyond(most).await?);
        }
        let mut removed = 0;
        for id in unwanted.iter().filter_map(|id| TaskId::parse(id)) {
            if !self.is_held(&id) && self.delete(&id).await? {
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn is_held(&self, id: &TaskId) -> bool {
        self.shared.held.lock().unwrap_or_else(PoisonError::into_inner).contains_key(id)
    }

    async fn ended_before(&self, time: i64) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT id FROM tasks WHERE finished_at <= ? AND state IN ('completed', 'failed')";
        Ok(sqlx::query_scalar(sql).bind(time).fetch_all(&self.shared.pool).await?)
    }

    /// The completed tasks that are left out when the newest results fill `most` bytes.
    async fn beyond(&self, most: u64) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT id FROM
                       (SELECT id, sum(result_bytes) OVER (ORDER BY finished_at DESC, seq DESC) AS bytes
                        FROM tasks WHERE state = 'completed')
                   WHERE bytes > ?";
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        Ok(sqlx::query_scalar(sql).bind(most).fetch_all(&self.shared.pool).await?)
    }

    /// Removes the single steps of tasks that ended between the two times.
    async fn forget_steps(&self, since: i64, until: i64) -> Result<(), StoreError> {
        let sql = "DELETE FROM task_events WHERE kind = 'step' AND task IN
                       (SELECT id FROM tasks WHERE finished_at BETWEEN ? AND ?)";
        sqlx::query(sql).bind(since).bind(until).execute(&self.shared.pool).await?;
        Ok(())
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
