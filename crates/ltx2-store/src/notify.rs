//! Notifications of changes. They are hints: a reader re-reads what it tracks, and never relies on their content.

use std::time::Duration;

use ltx2_types::TaskId;
use tokio::sync::broadcast;

/// Interval at which a store looks for commits of other processes.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Capacity of a receiver. One that lags behind re-reads everything.
const CAPACITY: usize = 256;

/// A committed change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The record or the events of a task.
    Task(TaskId),
    /// The signals of a running task.
    Signals(TaskId),
    /// The queue: a task was queued, started or ended.
    Queue,
    /// Any change, by another process or store.
    Other,
}

/// Sender of notifications. Clones send to the same receivers.
#[derive(Debug, Clone)]
pub(crate) struct Notifier(broadcast::Sender<Change>);

impl Notifier {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }

    /// Sends `change` after its commit.
    pub(crate) fn send(&self, change: Change) {
        // An error means that there is no receiver.
        let _ = self.0.send(change);
    }

    pub(crate) fn subscribe(&self) -> Changes {
        Changes(self.0.subscribe())
    }
}

/// Subscription to the changes since it was created.
///
/// Subscribe before the first read, so that no change is missed in between. The waiting methods may also return without
/// a change, and return at once if a change of their kind was committed since the last call.
#[derive(Debug)]
pub struct Changes(broadcast::Receiver<Change>);

impl Changes {
    /// Waits until the record, the events or the queue position of `id` may have changed.
    pub async fn task(&mut self, id: &TaskId) {
        self.until(|change| {
            !matches!(change, Change::Signals(_)) && !matches!(change, Change::Task(task) if task != id)
        })
        .await;
    }

    /// Waits until a task may have been queued, started or ended.
    pub async fn queue(&mut self) {
        self.until(|change| matches!(change, Change::Queue | Change::Other)).await;
    }

    /// Waits until the signals of the running task `id` may have changed by this store. Heartbeats see those of other
    /// processes.
    pub async fn signals(&mut self, id: &TaskId) {
        self.until(|change| matches!(change, Change::Signals(task) if task == id)).await;
    }

    async fn until(&mut self, is_relevant: impl Fn(&Change) -> bool) {
        loop {
            match self.0.recv().await {
                Ok(change) if !is_relevant(&change) => {}
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                // The store was dropped: no change follows.
                Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_waiter_wakes_for_relevant_changes_only() {
        let (notifier, id, other) = (Notifier::new(), TaskId::from_u128(1), TaskId::from_u128(2));
        let mut changes = notifier.subscribe();
        let wakes = async |changes: &mut Changes| {
            tokio::time::timeout(Duration::from_millis(20), changes.task(&id)).await.is_ok()
        };
        notifier.send(Change::Task(other.clone()));
        notifier.send(Change::Signals(id.clone()));
        assert!(!wakes(&mut changes).await);
        for change in [Change::Task(id.clone()), Change::Queue, Change::Other] {
            notifier.send(change);
            assert!(wakes(&mut changes).await);
        }
        for _ in 0..2 * CAPACITY {
            notifier.send(Change::Task(other.clone()));
        }
        assert!(wakes(&mut changes).await, "lagged");
    }
}
