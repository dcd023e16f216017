//! Storing the end of a run: completed, failed or released.

use std::time::Duration;

use ltx2_store::{Completion, Lease, ReleaseReason, Released, Store, StoreError};
use ltx2_types::Failure;
use tokio::sync::watch;

use crate::control::Commands;
use crate::outcome::{Interrupt, Outcome};

/// Time between attempts when the store fails, for example because the disk is full.
const RETRY: Duration = Duration::from_secs(1);

/// Stores the end of the run of `lease`.
pub(crate) struct Finalizer<'a> {
    pub(crate) store: &'a Store,
    pub(crate) commands: &'a watch::Receiver<Commands>,
    pub(crate) lease: &'a Lease,
}

/// Change of the task in the store.
#[derive(Debug)]
enum Finalization {
    Complete(Completion),
    Fail(Failure),
    Release(ReleaseReason),
}

impl Finalizer<'_> {
    /// Stores the end of a run that took `elapsed`. Retries until it is stored, the lease is lost or the worker shuts
    /// down.
    pub(crate) async fn finalize(&self, outcome: Outcome, interrupt: Option<Interrupt>, elapsed: Duration) {
        let id = self.lease.task();
        let finalization = match (outcome, interrupt) {
            (_, Some(Interrupt::LeaseLost)) => return tracing::warn!(task = %id, "task lost: its lease was reclaimed"),
            (_, Some(Interrupt::Cancelled)) => {
                tracing::info!(task = %id, "task cancelled");
                Finalization::Fail(Failure::cancelled())
            }
            (Outcome::Completed(completion), _) => {
                tracing::info!(task = %id, seconds = elapsed.as_secs_f64(), "task completed");
                Finalization::Complete(completion)
            }
            (_, Some(Interrupt::Shutdown)) => {
                tracing::info!(task = %id, "task released: the worker shuts down");
                Finalization::Release(ReleaseReason::Shutdown)
            }
            (Outcome::EngineCrashed(failure), None) => {
                tracing::error!(task = %id, "engine crashed: {failure}");
                Finalization::Release(ReleaseReason::EngineCrash(failure))
            }
            (Outcome::Failed(failure), None) => {
                tracing::error!(task = %id, code = ?failure.code, "task failed: {failure}");
                Finalization::Fail(failure)
            }
        };
        self.store(&finalization).await;
    }

    async fn store(&self, finalization: &Finalization) {
        let id = self.lease.task();
        loop {
            let stored = match finalization {
                Finalization::Complete(completion) => self.store.complete(self.lease, completion).await,
                Finalization::Fail(failure) => self.store.fail(self.lease, failure).await,
                Finalization::Release(reason) => self.release(reason).await,
            };
            let Err(error) = stored else { return };
            tracing::error!(task = %id, %error, "end of task not stored: {error}");
            let is_permanent = matches!(error, StoreError::LeaseLost(_) | StoreError::Encode(_));
            // After a restart, a task whose files are in place is completed, and any other is queued again.
            if is_permanent || self.commands.borrow().stop {
                return;
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn release(&self, reason: &ReleaseReason) -> Result<(), StoreError> {
        let id = self.lease.task();
        match self.store.release(self.lease, reason.clone()).await? {
            Released::Queued => tracing::info!(task = %id, "task queued again"),
            Released::Failed(failure) => tracing::error!(task = %id, "task failed: {failure}"),
        }
        Ok(())
    }
}
