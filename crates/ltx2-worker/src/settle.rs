//! Writing down how a task ended, so that a finished one is never run again.

use std::time::Duration;

use ltx2_store::{Artifact, FileName, Lease, Store, StoreError};
use ltx2_types::{Failure, FailureCode};
use tokio::sync::watch;

use crate::orders::Orders;
use crate::run::Interrupt;

/// How long to wait after the store failed: as a disk fills up, or is cleared.
const RETRY: Duration = Duration::from_secs(1);

/// The end of a task.
pub(crate) struct End<'a> {
    pub(crate) store: &'a Store,
    pub(crate) orders: &'a watch::Receiver<Orders>,
    pub(crate) lease: &'a Lease,
}

/// What is written down about it.
enum Ending {
    Completed(Artifact),
    Failed(Failure),
    Released,
}

impl End<'_> {
    /// Writes down how the task ended; tries until that is done, the lease is lost or the worker has to stop.
    pub(crate) async fn settle(
        &self,
        outcome: Result<Artifact, Failure>,
        interrupt: Option<Interrupt>,
        took: Duration,
    ) {
        let id = self.lease.task();
        let ending = match (outcome, interrupt) {
            (_, Some(Interrupt::LeaseLost)) => {
                return tracing::warn!(task = %id, "task {id} was taken by another worker");
            }
            (_, Some(Interrupt::Cancelled)) => {
                tracing::info!(task = %id, "task {id} is cancelled");
                Ending::Failed(Failure::new(FailureCode::Cancelled, "cancelled"))
            }
            (Ok(artifact), _) => {
                tracing::info!(task = %id, seconds = took.as_secs_f64(), "task {id} is done after {took:.1?}");
                Ending::Completed(artifact)
            }
            (Err(_), Some(Interrupt::Stopping)) => {
                tracing::info!(task = %id, "task {id} goes back to the queue: the server stops");
                Ending::Released
            }
            (Err(failure), None) => {
                tracing::error!(task = %id, code = ?failure.code, "task {id} failed: {failure}");
                Ending::Failed(failure)
            }
        };
        if !matches!(ending, Ending::Completed(_)) {
            self.discard();
        }
        self.insist(&ending).await;
    }

    /// Removes what the task may have made already.
    fn discard(&self) {
        let id = self.lease.task();
        for name in [FileName::of_video(id), FileName::of_thumbnail(id)] {
            match std::fs::remove_file(self.store.output_path(&name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(task = %id, %error, "{name} stays until the next start: {error}");
                }
                _ => {}
            }
        }
    }

    async fn insist(&self, ending: &Ending) {
        let id = self.lease.task();
        loop {
            let written = match ending {
                Ending::Completed(artifact) => self.store.complete(self.lease, artifact).await,
                Ending::Failed(failure) => self.store.fail(self.lease, failure).await,
                Ending::Released => self.store.release(self.lease).await,
            };
            let Err(error) = written else { return };
            tracing::error!(task = %id, %error, "how task {id} ended could not be stored: {error}");
            let is_hopeless = matches!(error, StoreError::LeaseLost(_) | StoreError::Encode(_));
            // The next start finds the files of a completed task, and queues any other again.
            if is_hopeless || self.orders.borrow().stop {
                return;
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// What clients are told of an error in the store.
pub(crate) fn outside(error: &StoreError) -> &'static str {
    match error {
        StoreError::DiskFull(_) => "the result could not be stored: the server's disk is full",
        _ => "the result could not be stored; the server's log says more",
    }
}
