//! Commands to the work loop: shutdown and unloading.

use tokio::sync::watch;

use crate::status::WorkerStatus;

/// Commands to the work loop so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Commands {
    /// Whether to shut down.
    pub(crate) stop: bool,
    /// Number of commands to unload the model.
    pub(crate) unloads: u64,
}

/// Handle for observing the worker and unloading its model.
#[derive(Debug, Clone)]
pub struct WorkerControl {
    pub(crate) commands: watch::Sender<Commands>,
    pub(crate) status: watch::Receiver<WorkerStatus>,
}

impl WorkerControl {
    /// Returns the current status.
    pub fn status(&self) -> WorkerStatus {
        *self.status.borrow()
    }

    /// Unloads the model after the running task and before the next one. Returns when that is done or the worker has
    /// ended.
    pub async fn unload(&self) {
        let mut number = 0;
        self.commands.send_modify(|commands| {
            commands.unloads += 1;
            number = commands.unloads;
        });
        // An error means that the worker has ended, and with it its engine.
        let _ = self.status.clone().wait_for(|status| status.unloads >= number).await;
    }
}
