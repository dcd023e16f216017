//! Starting and stopping the worker.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ltx2_media::ImageLimits;
use ltx2_store::Store;
use ltx2_types::{Failure, Generator};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use crate::device_thread::DeviceThread;
use crate::orders::Orders;
use crate::{Status, WorkerControl};

/// How the worker behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Who holds the leases, for people who look into the database.
    pub name: String,
    /// How long a task stays with a worker that gives no sign of life.
    pub lease: Duration,
    /// The model's memory is given back after this long without a task; `None` keeps it.
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
    /// The system gave no thread.
    #[error("the device thread could not be started: {0}")]
    Thread(#[from] io::Error),
    /// The generator could not be made.
    #[error("the generator could not be made: {0}")]
    Generator(#[from] Failure),
    /// A mistake in the code; the panic's own message is on standard error.
    #[error("the device thread panicked")]
    Panicked,
}

/// Makes workers.
#[derive(Debug)]
pub enum Worker {}

impl Worker {
    /// Starts a thread, makes the generator on it with `make_generator`, and runs tasks there until told to stop.
    ///
    /// # Panics
    /// Outside of a tokio runtime; it must live until [`WorkerHandle::shutdown`] returned.
    pub async fn spawn<G, F>(store: Store, make_generator: F, settings: Settings) -> Result<WorkerHandle, WorkerError>
    where
        G: Generator,
        F: FnOnce() -> Result<G, Failure> + Send + 'static,
    {
        let runtime = Handle::current();
        let (orders, heard) = watch::channel(Orders::default());
        let (ready, made) = oneshot::channel();
        let work = move || {
            let generator = match make_generator() {
                Ok(generator) => generator,
                // Nobody to tell: the caller stopped waiting.
                Err(failure) => return drop(ready.send(Err(failure))),
            };
            let (device, status) = DeviceThread::new(store, generator, settings, runtime, heard);
            if ready.send(Ok(status)).is_ok() {
                device.run();
            }
        };
        let thread = thread::Builder::new().name("ltx2-device".into()).spawn(work)?;
        let status = made.await.map_err(|_| WorkerError::Panicked)??;
        Ok(WorkerHandle { orders, status, thread: Some(thread) })
    }
}

/// A running worker. Dropping it tells the worker to stop, without waiting for it.
#[derive(Debug)]
pub struct WorkerHandle {
    orders: watch::Sender<Orders>,
    status: watch::Receiver<Status>,
    thread: Option<JoinHandle<()>>,
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

    /// Returns when the device thread ended, which before [`WorkerHandle::shutdown`] means that it broke.
    pub async fn ended(&self) {
        let mut status = self.status.clone();
        while status.changed().await.is_ok() {}
    }

    /// Stops the worker: the running task is told to cancel and goes back to the queue. Returns when the thread ended.
    pub async fn shutdown(mut self) -> Result<(), WorkerError> {
        self.orders.send_modify(|orders| orders.stop = true);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        joined.ok().and_then(Result::ok).ok_or(WorkerError::Panicked)
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.orders.send_modify(|orders| orders.stop = true);
    }
}
