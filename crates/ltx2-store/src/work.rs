//! Operations of workers: claims, heartbeats and ends of runs.

use std::time::Duration;

use ltx2_types::{Failure, FailureCode, Progress};
use uuid::Uuid;

use crate::clock::now;
use crate::files::{self, UnusedFiles, WorkerLock};
use crate::lease::{Claim, Lease, ReleaseReason, Released, Signals};
use crate::spawn::{blocking, to_completion};
use crate::sqlite::{ExpiredLease, Reclaimed};
use crate::store::Shared;
use crate::task::Completion;
use crate::{Store, StoreError};

/// Number of engine crashes after which a task fails.
pub const MAX_ENGINE_CRASHES: u32 = 3;

impl Store {
    /// Reclaims the tasks of all workers that ran before: the holder of `lock` is the only worker. Returns their number.
    pub async fn recover(&self, lock: &WorkerLock) -> Result<usize, StoreError> {
        let _held = lock;
        self.reclaim_expired(i64::MAX).await
    }

    /// Claims the first queued task for `worker`, after reclaiming expired leases. The lease expires `length` after the
    /// last heartbeat.
    pub async fn claim(&self, worker: &str, length: Duration) -> Result<Option<Claim>, StoreError> {
        self.reclaim_expired(now()).await?;
        loop {
            let token = Uuid::new_v4().simple().to_string();
            let (store, worker, secret) = (self.clone(), worker.to_owned(), token.clone());
            let claimed = to_completion(async move {
                let claimed = store.shared.database.claim_first(&worker, &secret, length).await?;
                claimed.iter().for_each(|row| store.notify_queue(&row.task));
                Ok(claimed)
            });
            let Some(row) = claimed.await? else { return Ok(None) };
            let lease = Lease { task: row.task, token, length };
            match serde_json::from_str(&row.request) {
                Ok(request) => return Ok(Some(Claim { lease, request, attempt: row.attempt })),
                // Stored by another version. It must not block the queue.
                Err(error) => {
                    let reason = format!("the stored request cannot be read by this version: {error}");
                    self.fail(&lease, &Failure::new(FailureCode::Internal, reason)).await?;
                }
            }
        }
    }

    /// Renews `lease`, stores `progress` with an event per item, and returns the signals for the run. Without progress,
    /// it is cheap enough to be called several times a second.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if the task was reclaimed.
    pub async fn heartbeat(&self, lease: &Lease, progress: &[Progress]) -> Result<Signals, StoreError> {
        let signals = self.shared.database.heartbeat(lease, progress).await?;
        if !progress.is_empty() {
            self.notify_task(&lease.task);
        }
        Ok(signals)
    }

    /// Stores the result before its files get their names. If the files are in place after a crash, the task is
    /// completed.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if the task was reclaimed.
    pub async fn prepare(&self, lease: &Lease, completion: &Completion) -> Result<(), StoreError> {
        self.shared.database.prepare(lease, completion).await
    }

    /// Ends the task with a result whose files are in place and durable.
    ///
    /// # Errors
    /// [`StoreError::File`] if an output is missing, [`StoreError::LeaseLost`] if the task was reclaimed.
    pub async fn complete(&self, lease: &Lease, completion: &Completion) -> Result<(), StoreError> {
        let (store, mut completion) = (self.clone(), completion.clone());
        let completion = blocking(move || {
            for output in &mut completion.outputs {
                let path = store.output_path(&output.key);
                output.bytes = std::fs::metadata(&path).map_err(StoreError::file(path))?.len();
            }
            files::sync_folder(&store.outputs_dir())?;
            Ok(completion)
        })
        .await?;
        let (database, held) = (self.shared.database.clone(), lease.clone());
        self.end(lease, async move { Ok((database.complete(&held, &completion).await?, ())) }).await
    }

    /// Ends the task without a result, and removes output files that were prepared.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if the task was reclaimed.
    pub async fn fail(&self, lease: &Lease, failure: &Failure) -> Result<(), StoreError> {
        let (database, held, failure) = (self.shared.database.clone(), lease.clone(), failure.clone());
        self.end(lease, async move { Ok((database.fail(&held, &failure).await?, ())) }).await
    }

    /// Puts the task back to its old position in the queue, or fails it if its engine crashed too often. Removes output
    /// files that were prepared.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if the task was reclaimed.
    pub async fn release(&self, lease: &Lease, reason: ReleaseReason) -> Result<Released, StoreError> {
        let (store, held) = (self.clone(), lease.clone());
        self.end(lease, async move {
            let Shared { database, files, .. } = &*store.shared;
            let failure = match reason {
                ReleaseReason::Shutdown => {
                    database.release(files, &held).await?;
                    return Ok((UnusedFiles::default(), Released::Queued));
                }
                ReleaseReason::EngineCrash(failure) => failure,
            };
            let give_up = |crashes| {
                let message = format!("given up after {crashes} engine crashes; the last one: {failure}");
                Failure::new(failure.code, message)
            };
            let (unused, failure) = database.release_after_crash(files, &held, MAX_ENGINE_CRASHES, give_up).await?;
            Ok((unused, failure.map_or(Released::Queued, Released::Failed)))
        })
        .await
    }

    /// Runs `change`, which ends the run of `lease`, then removes the files that it returns and notifies waiters.
    async fn end<T: Send + 'static>(
        &self,
        lease: &Lease,
        change: impl Future<Output = Result<(UnusedFiles, T), StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (store, id) = (self.clone(), lease.task.clone());
        to_completion(async move {
            let (unused, result) = change.await?;
            store.remove_files(unused).await;
            store.notify_queue(&id);
            Ok(result)
        })
        .await
    }

    /// Ends the leases that expire by `cutoff`. Returns their number.
    async fn reclaim_expired(&self, cutoff: i64) -> Result<usize, StoreError> {
        let expired = self.shared.database.expired_leases(cutoff).await?;
        let count = expired.len();
        for lease in expired {
            let store = self.clone();
            to_completion(async move { store.reclaim(lease).await }).await?;
        }
        Ok(count)
    }

    async fn reclaim(&self, expired: ExpiredLease) -> Result<(), StoreError> {
        let reclaimed = match self.sizes_in_place(&expired).await? {
            Some(sizes) => Reclaimed::Completed(sizes),
            None if expired.cancel_requested => Reclaimed::Failed(Failure::cancelled()),
            None if expired.attempts < self.shared.options.max_starts => Reclaimed::Queued,
            None => {
                let starts = expired.attempts;
                let message = format!("given up after {starts} starts: each time the server stopped before the end");
                Reclaimed::Failed(Failure::new(FailureCode::Internal, message))
            }
        };
        let id = &expired.task;
        let Shared { database, files, .. } = &*self.shared;
        let Some(unused) = database.reclaim(files, &expired, &reclaimed).await? else { return Ok(()) };
        self.remove_files(unused).await;
        self.notify_queue(id);
        match reclaimed {
            Reclaimed::Completed(_) => tracing::info!(task = %id, "lease expired after the result was published"),
            Reclaimed::Failed(failure) => tracing::error!(task = %id, "lease expired, task failed: {failure}"),
            Reclaimed::Queued => tracing::info!(task = %id, "lease expired, task queued again"),
        }
        Ok(())
    }

    /// Returns the sizes of the prepared outputs, if there are any and all are in place.
    async fn sizes_in_place(&self, expired: &ExpiredLease) -> Result<Option<Vec<u64>>, StoreError> {
        if expired.outputs.is_empty() {
            return Ok(None);
        }
        let paths: Vec<_> = expired.outputs.iter().map(|name| self.output_path(name)).collect();
        blocking(move || Ok(paths.iter().map(|path| Some(std::fs::metadata(path).ok()?.len())).collect())).await
    }
}
