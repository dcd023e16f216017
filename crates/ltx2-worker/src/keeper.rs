//! Keeps a task's lease alive and its progress known, beside the thread that is busy with the task.

use std::sync::Arc;
use std::time::Duration;

use ltx2_store::{Lease, Store, StoreError};
use ltx2_types::Progress;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::task_watch::News;

/// Progress is written at most this often, all steps since the last time together.
const THROTTLE: Duration = Duration::from_millis(500);
/// Heartbeats are not denser than this, however short the lease.
const DENSEST: Duration = Duration::from_millis(10);
/// Steps taken over at once.
const MANY: usize = 256;

/// Runs until all that `progress` will bring is written, or the lease is lost. What it finds out goes to `news`.
pub(crate) async fn keep(store: Store, lease: Lease, mut progress: mpsc::UnboundedReceiver<Progress>, news: Arc<News>) {
    let mut changes = store.changes();
    let mut steps = Vec::new();
    let mut write_at = Instant::now();
    let mut beat_at = Instant::now() + beat(&lease);
    // One that came before `changes`.
    let mut result = look_for_cancel(&store, &lease, &news).await;
    loop {
        match result {
            Ok(()) => {}
            Err(StoreError::LeaseLost(_)) => return news.lease_is_lost(),
            Err(error) => {
                let id = lease.task();
                tracing::warn!(task = %id, %error, "the progress of task {id} could not be stored: {error}");
            }
        }
        result = tokio::select! {
            received = progress.recv_many(&mut steps, MANY) => {
                if received == 0 {
                    return write_last(&store, &lease, &steps).await;
                }
                Ok(())
            }
            () = sleep_until(write_at), if !steps.is_empty() => {
                write_at = Instant::now() + THROTTLE.min(beat(&lease));
                beat_at = Instant::now() + beat(&lease);
                let written = store.report_steps(&lease, &steps).await;
                if written.is_ok() {
                    steps.clear();
                }
                written
            }
            () = sleep_until(beat_at) => {
                beat_at = Instant::now() + beat(&lease);
                store.heartbeat(&lease).await
            }
            () = Store::wait_for_change(&mut changes, lease.task()) => look_for_cancel(&store, &lease, &news).await,
        };
    }
}

fn beat(lease: &Lease) -> Duration {
    (lease.length() / 3).max(DENSEST)
}

async fn look_for_cancel(store: &Store, lease: &Lease, news: &News) -> Result<(), StoreError> {
    if store.is_cancel_requested(lease).await? {
        news.is_cancelled();
    }
    Ok(())
}

async fn write_last(store: &Store, lease: &Lease, steps: &[Progress]) {
    if !steps.is_empty()
        && let Err(error) = store.report_steps(lease, steps).await
    {
        let id = lease.task();
        tracing::warn!(task = %id, %error, "the last steps of task {id} could not be stored: {error}");
    }
}
