//! Starting and stopping the worker.

use std::time::{Duration, Instant};

use ltx2_engine::{EngineClient, EngineEvent};
use ltx2_store::Store;
use ltx2_types::{Failure, ImageLimits};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::orders::Orders;
use crate::work_loop::WorkLoop;
use crate::{Activity, Status, WorkerControl};

/// Starts an engine.
pub type Launch = Box<dyn Fn() -> Result<EngineClient, Failure> + Send + Sync>;

/// How the worker behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Who holds the leases, for people who look into the database.
    pub name: String,
    /// How long a task stays with a worker that gives no sign of life.
    pub lease: Duration,
    /// The engine ends after this long without a task; `None` keeps it.
    pub idle_timeout: Option<Duration>,
    /// The largest pictures that are decoded; those that let pictures in are to have the same.
    pub image: ImageLimits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "worker".into(),
            lease: Duration::from_secs(30),
            idle_timeout: Some(Duration::from_secs(60)),
            image: ImageLimits::default(),
        }
    }
}

/// Why the worker could not start, or how it ended.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The engine could not start.
    #[error("the engine could not start: {0}")]
    Engine(#[from] Failure),
    /// A mistake in the code; the panic's own message is on standard error.
    #[error("the worker panicked")]
    Panicked,
}

/// Makes workers.
#[derive(Debug)]
pub enum Worker {}

impl Worker {
    /// Starts an engine with `launch` and gives it tasks until told to stop; whenever there is none, `launch` makes
    /// another.
    ///
    /// # Panics
    /// Outside of a tokio runtime; it must live until [`WorkerHandle::shutdown`] returned.
    pub async fn spawn(store: Store, launch: Launch, settings: Settings) -> Result<WorkerHandle, WorkerError> {
        let mut engine = launch()?;
        let device = match engine.next_event().await {
            Some(EngineEvent::Ready { device, .. }) => device,
            Some(EngineEvent::Unready(failure)) => return Err(failure.into()),
            _ => return Err(engine.into_failure().await.into()),
        };
        let (orders, heard) = watch::channel(Orders::default());
        let (status, told) = watch::channel(Status { device, loaded: false, activity: Activity::Idle, unloads: 0 });
        let work = WorkLoop {
            store,
            launch,
            settings,
            orders: heard,
            status,
            engine: Some(engine),
            idle_since: Instant::now(),
        };
        Ok(WorkerHandle { orders, status: told, work: Some(tokio::spawn(work.run())) })
    }
}

/// A running worker. Dropping it tells the worker to stop, without waiting for it.
#[derive(Debug)]
pub struct WorkerHandle {
    orders: watch::Sender<Orders>,
    status: watch::Receiver<Status>,
    work: Option<JoinHandle<()>>,
}

impl WorkerHandle {
    /// How the worker is now.
    pub fn status(&self) -> Status {
        *self.status.borrow()
    }

    /// The same, to be kept: always holds the last status.
    pub fn watch_status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// A line to the worker that outlives this handle, though not the worker.
    pub fn control(&self) -> WorkerControl {
        WorkerControl { orders: self.orders.clone(), status: self.status.clone() }
    }

    /// Returns when the worker ended, which before [`WorkerHandle::shutdown`] means that it broke.
    pub async fn ended(&self) {
        let mut status = self.status.clone();
        while status.changed().await.is_ok() {}
    }

    /// Stops the worker: the running task is broken off and goes back to the queue. Returns when the engine has ended.
    pub async fn shutdown(mut self) -> Result<(), WorkerError> {
        self.orders.send_modify(|orders| orders.stop = true);
        let Some(work) = self.work.take() else { return Ok(()) };
        work.await.map_err(|_| WorkerError::Panicked)
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.orders.send_modify(|orders| orders.stop = true);
    }
}
