//! What the device thread is told.

use tokio::sync::watch;

use crate::Status;

/// What the device thread is to do beside its tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    /// End.
    pub(crate) stop: bool,
    /// How often it was told to give the model's memory back.
    pub(crate) unloads: u64,
}

/// A line to the worker that can be passed around.
#[derive(Debug, Clone)]
pub struct WorkerControl {
    pub(crate) orders: watch::Sender<Orders>,
    pub(crate) status: watch::Receiver<Status>,
}

impl WorkerControl {
    /// How the worker is now.
    pub fn status(&self) -> Status {
        *self.status.borrow()
    }

    /// Gives the model's memory back, after the task that runs and before the next. Returns when that is done, or the
    /// worker has ended.
    pub async fn unload(&self) {
        let mut number = 0;
        self.orders.send_modify(|orders| {
            orders.unloads += 1;
            number = orders.unloads;
        });
        // An error means that the worker ended, and with it its model.
        let _ = self.status.clone().wait_for(|status| status.unloads >= number).await;
    }
}
