//! Start and shutdown of the worker.

use std::time::Instant;

use ltx2_engine::EngineEvent;
use ltx2_store::Store;
use ltx2_types::Failure;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::control::{Commands, WorkerControl};
use crate::settings::{Launch, WorkerSettings};
use crate::status::{Activity, WorkerStatus};
use crate::work_loop::WorkLoop;

/// Error of the worker.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The engine could not start.
    #[error("the engine could not start: {0}")]
    Engine(#[from] Failure),
    /// The work loop panicked; the panic message is on standard error.
    #[error("the worker panicked")]
    Panicked,
}

/// Starts workers.
#[derive(Debug)]
pub enum Worker {}

impl Worker {
    /// Starts a worker that runs tasks of `store` on an engine until it is shut down. `launch` starts the engine, again
    /// whenever a task needs one and none runs.
    ///
    /// # Errors
    /// [`WorkerError::Engine`] if the first engine does not start.
    ///
    /// # Panics
    /// Outside of a tokio runtime, which must live until [`WorkerHandle::shutdown`] returns.
    pub async fn spawn(store: Store, launch: Launch, settings: WorkerSettings) -> Result<WorkerHandle, WorkerError> {
        let mut engine = launch()?;
        let device = match engine.next_event().await {
            Some(EngineEvent::Ready { device, .. }) => device,
            Some(EngineEvent::Unready(failure)) => return Err(failure.into()),
            _ => return Err(engine.into_failure().await.into()),
        };
        let (commands, commanded) = watch::channel(Commands::default());
        let status = WorkerStatus { device, loaded: false, activity: Activity::Idle, unloads: 0 };
        let (status, observed) = watch::channel(status);
        let work = WorkLoop {
            changes: store.changes(),
            store,
            launch,
            settings,
            commands: commanded,
            status,
            engine: Some(engine),
            idle_since: Instant::now(),
        };
        Ok(WorkerHandle { commands, status: observed, work: Some(tokio::spawn(work.run())) })
    }
}

/// Handle of a running worker. Dropping it shuts the worker down without waiting for it.
#[derive(Debug)]
pub struct WorkerHandle {
    commands: watch::Sender<Commands>,
    status: watch::Receiver<WorkerStatus>,
    work: Option<JoinHandle<()>>,
}

impl WorkerHandle {
    /// Returns the current status.
    pub fn status(&self) -> WorkerStatus {
        *self.status.borrow()
    }

    /// Subscribes to the status.
    pub fn watch_status(&self) -> watch::Receiver<WorkerStatus> {
        self.status.clone()
    }

    /// Returns a handle for observing the worker and unloading its model, which may outlive this one.
    pub fn control(&self) -> WorkerControl {
        WorkerControl { commands: self.commands.clone(), status: self.status.clone() }
    }

    /// Waits until the worker has ended. Before [`WorkerHandle::shutdown`], that means that it panicked.
    pub async fn ended(&self) {
        let mut status = self.status.clone();
        while status.changed().await.is_ok() {}
    }

    /// Shuts the worker down: the running task is interrupted and released. Returns when the engine has ended.
    ///
    /// # Errors
    /// [`WorkerError::Panicked`] if the work loop panicked.
    pub async fn shutdown(mut self) -> Result<(), WorkerError> {
        self.commands.send_modify(|commands| commands.stop = true);
        let Some(work) = self.work.take() else { return Ok(()) };
        work.await.map_err(|_| WorkerError::Panicked)
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.commands.send_modify(|commands| commands.stop = true);
    }
}
