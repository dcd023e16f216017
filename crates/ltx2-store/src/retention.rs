//! Removal of old tasks and unused files.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use ltx2_types::TaskId;

use crate::clock::before;
use crate::files::{older_than, remove_except};
use crate::hold::Hold;
use crate::spawn::blocking;
use crate::{FileName, Store, StoreError};

/// Interval of [`Store::keep_house`].
const INTERVAL: Duration = Duration::from_secs(60);
/// Time for which step events of ended tasks are kept, for watchers that reconnect.
const STEPS_KEPT: Duration = Duration::from_secs(3600);
/// Interval of sweeps, and age from which a file without a row is removed.
const SWEEP: Duration = Duration::from_secs(3600);

/// Limits for ended tasks; `None` keeps all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Time after its end at which a task is removed with its files.
    pub max_age: Option<Duration>,
    /// Maximum total size of the results, bytes. The oldest are removed first.
    pub max_bytes: Option<u64>,
}

impl Store {
    /// Protects the outputs of the task that output `name` belongs to until the hold is dropped. `None` for other names.
    pub fn hold(&self, name: &FileName) -> Option<Hold> {
        Some(self.shared.holds.hold(name.task()?))
    }

    /// Removes old tasks, events, assets and unused files periodically. Never returns.
    pub async fn keep_house(self, retention: Retention) {
        let mut steps_deleted_until = i64::MIN;
        let mut swept_at = Instant::now();
        loop {
            let until = before(STEPS_KEPT);
            match self.shared.database.delete_steps(steps_deleted_until, until).await {
                Ok(()) => steps_deleted_until = until,
                Err(error) => tracing::error!(%error, "old events could not be removed: {error}"),
            }
            match self.expire(&retention).await {
                Ok(0) => {}
                Ok(tasks) => tracing::info!(tasks, "tasks removed by retention"),
                Err(error) => tracing::error!(%error, "old tasks could not be removed: {error}"),
            }
            if let Err(error) = self.expire_assets().await {
                tracing::error!(%error, "expired assets could not be removed: {error}");
            }
            if swept_at.elapsed() >= SWEEP {
                swept_at = Instant::now();
                if let Err(error) = self.sweep(SWEEP).await {
                    tracing::error!(%error, "unused files could not be removed: {error}");
                }
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Removes the ended tasks beyond `retention`, except those that are held or used by another task. Returns their
    /// number.
    pub async fn expire(&self, retention: &Retention) -> Result<usize, StoreError> {
        let mut expired = match retention.max_age {
            Some(age) => self.shared.database.ended_before(before(age)).await?,
            None => Vec::new(),
        };
        if let Some(max_bytes) = retention.max_bytes {
            expired.extend(self.shared.database.beyond(max_bytes).await?);
        }
        let mut removed = 0;
        for id in &expired {
            removed += usize::from(self.expire_task(id).await?);
        }
        Ok(removed)
    }

    async fn expire_task(&self, id: &TaskId) -> Result<bool, StoreError> {
        if self.shared.holds.contains(id) {
            return Ok(false);
        }
        match self.delete(id).await {
            Err(StoreError::Referenced(_)) => Ok(false),
            deleted => deleted,
        }
    }

    /// Removes files that no row refers to and that were last written at least `age` ago, such as leftovers of crashes.
    /// Files in the outputs folder that are not named as outputs are kept.
    pub async fn sweep(&self, age: Duration) -> Result<(), StoreError> {
        let files = &self.shared.files;
        let listed = {
            let (inputs, outputs, assets) = (files.inputs(), files.outputs(), files.assets());
            // Before the rows are read: a file whose row is committed in between is then kept.
            blocking(move || Ok([older_than(&inputs, age)?, older_than(&outputs, age)?, older_than(&assets, age)?]))
                .await?
        };
        let [inputs, mut outputs, assets] = listed;
        outputs.retain(|name| FileName::parse(name).is_some_and(|name| name.task().is_some()));
        let database = &self.shared.database;
        let used = [database.input_files().await?, database.output_files().await?, database.asset_files().await?];
        let folders = [files.inputs(), files.outputs(), files.assets()];
        blocking(move || {
            let swept = folders.iter().zip([inputs, outputs, assets]).zip(used);
            swept.into_iter().try_for_each(|((folder, names), used): ((_, Vec<String>), HashSet<String>)| {
                remove_except(folder, names, &used)
            })
        })
        .await
    }
}
