//! The running task's line to the outside: progress goes out, interruptions come in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ltx2_types::{Phase, Progress, Watch};
use tokio::sync::watch;

use crate::Status;
use crate::worker::Order;

pub(crate) struct TaskWatch {
    order: watch::Receiver<Order>,
    status: watch::Sender<Status>,
    progress: watch::Sender<Option<Progress>>,
    lease_lost: Arc<AtomicBool>,
}

/// Why a task is told to stop before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// The worker stops.
    Stopping,
    /// The task belongs to another worker.
    LeaseLost,
}

impl TaskWatch {
    /// A watch, and where its progress can be read.
    pub(crate) fn new(
        order: watch::Receiver<Order>,
        status: watch::Sender<Status>,
    ) -> (Self, watch::Receiver<Option<Progress>>) {
        let (progress, receiver) = watch::channel(None);
        (Self { order, status, progress, lease_lost: Arc::default() }, receiver)
    }

    /// To be set by whoever finds that the lease is lost.
    pub(crate) fn lease_lost(&self) -> Arc<AtomicBool> {
        self.lease_lost.clone()
    }

    pub(crate) fn interrupt(&self) -> Option<Interrupt> {
        if self.lease_lost.load(Ordering::Relaxed) {
            return Some(Interrupt::LeaseLost);
        }
        (*self.order.borrow() == Order::Stop).then_some(Interrupt::Stopping)
    }
}

impl Watch for TaskWatch {
    fn progress(&self, progress: Progress) {
        self.progress.send_replace(Some(progress));
        // The generator is busy and cannot be asked; past its loading it holds the model.
        let loaded = matches!(progress.phase, Phase::Denoising | Phase::Decoding);
        self.status.send_if_modified(|status| {
            let is_news = loaded && !status.loaded;
            status.loaded |= loaded;
            is_news
        });
    }

    fn is_cancelled(&self) -> bool {
        self.interrupt().is_some()
    }
}
