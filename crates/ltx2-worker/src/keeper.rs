//! Keeps a task's lease alive and its progress known, beside the thread that is busy with the task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ltx2_store::{Lease, Store, StoreError};
use ltx2_types::Progress;
use tokio::sync::watch;

/// Progress is written at most this often.
const THROTTLE: Duration = Duration::from_millis(500);

/// Runs until the sender of `progress` is gone or the lease is lost, which is noted in `lease_lost`.
pub(crate) async fn keep(
    store: Store,
    lease: Lease,
    mut progress: watch::Receiver<Option<Progress>>,
    lease_lost: Arc<AtomicBool>,
) {
    loop {
        let written = tokio::select! {
            changed = progress.changed() => {
                if changed.is_err() {
                    return;
                }
                let latest = *progress.borrow_and_update();
                match latest {
                    Some(latest) => store.report_progress(&lease, latest).await,
                    None => Ok(()),
                }
            }
            () = tokio::time::sleep(lease.length() / 3) => store.heartbeat(&lease).await,
        };
        match written {
            Ok(()) => tokio::time::sleep(THROTTLE.min(lease.length() / 3)).await,
            Err(StoreError::LeaseLost(_)) => {
                lease_lost.store(true, Ordering::Relaxed);
                return;
            }
            Err(error) => {
                let id = lease.task();
                tracing::warn!(task = %id, %error, "the progress of task {id} could not be stored: {error}");
                tokio::time::sleep(THROTTLE).await;
            }
        }
    }
}
