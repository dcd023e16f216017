//! Telling those who wait that something was written.

use tokio::sync::broadcast;

use crate::{Store, TaskId};

/// Something that was written and can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A task has further events.
    Task(TaskId),
    /// Tasks moved up in the queue, or were pushed back in it.
    Queue,
}

/// A reader that is this far behind reads everything anew.
const CAPACITY: usize = 256;

pub(crate) fn channel() -> broadcast::Sender<Change> {
    broadcast::Sender::new(CAPACITY)
}

impl Store {
    /// What is written from here on. A receiver that lagged has to look at all that it cares for.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.shared.changes.subscribe()
    }

    /// Returns when `id` may have changed since the last call on `changes`.
    pub async fn wait_for_change(changes: &mut broadcast::Receiver<Change>, id: &TaskId) {
        loop {
            match changes.recv().await {
                Ok(Change::Task(changed)) if changed != *id => {}
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                // The store lives as long as whoever waits on it; ending the wait is right if not.
                Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
            }
        }
    }

    /// To be called after a commit that gave `id` an event.
    pub(crate) fn announce(&self, id: &TaskId) {
        // Nobody listening is fine.
        let _ = self.shared.changes.send(Change::Task(id.clone()));
    }

    /// To be called after a commit by which a task came into the queue or left it, began to run or ended.
    pub(crate) fn announce_queue(&self) {
        let _ = self.shared.changes.send(Change::Queue);
    }
}
