//! The running task's line to the outside: progress and previews go out, interruptions come in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ltx2_types::{Phase, Progress, RgbImage, Watch};
use tokio::sync::{mpsc, watch};

use crate::Status;
use crate::orders::Orders;
use crate::task_previews::TaskPreviews;

pub(crate) struct TaskWatch {
    orders: watch::Receiver<Orders>,
    status: watch::Sender<Status>,
    progress: mpsc::UnboundedSender<Progress>,
    news: Arc<News>,
    previews: TaskPreviews,
}

/// What was found out about the task since it was claimed.
#[derive(Debug, Default)]
pub(crate) struct News {
    lease_lost: AtomicBool,
    cancelled: AtomicBool,
}

impl News {
    /// The task belongs to another worker.
    pub(crate) fn lease_is_lost(&self) {
        self.lease_lost.store(true, Ordering::Relaxed);
    }

    /// Someone asked for the task to be stopped.
    pub(crate) fn is_cancelled(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

/// Why a task is told to stop before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// The worker stops.
    Stopping,
    /// Someone asked for it.
    Cancelled,
    /// The task belongs to another worker.
    LeaseLost,
}

impl TaskWatch {
    /// A watch, and where its progress can be read, every step of it.
    pub(crate) fn new(
        orders: watch::Receiver<Orders>,
        status: watch::Sender<Status>,
        previews: TaskPreviews,
    ) -> (Self, mpsc::UnboundedReceiver<Progress>) {
        let (progress, receiver) = mpsc::unbounded_channel();
        (Self { orders, status, progress, news: Arc::default(), previews }, receiver)
    }

    /// To be told by whoever finds something out.
    pub(crate) fn news(&self) -> Arc<News> {
        self.news.clone()
    }

    pub(crate) fn interrupt(&self) -> Option<Interrupt> {
        if self.news.lease_lost.load(Ordering::Relaxed) {
            return Some(Interrupt::LeaseLost);
        }
        if self.news.cancelled.load(Ordering::Relaxed) {
            return Some(Interrupt::Cancelled);
        }
        self.orders.borrow().stop.then_some(Interrupt::Stopping)
    }
}

impl Watch for TaskWatch {
    fn progress(&self, progress: Progress) {
        // Nobody keeps it when the lease is lost, which the next question tells.
        let _ = self.progress.send(progress);
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

    fn wants_preview(&self) -> bool {
        self.previews.are_wanted()
    }

    fn preview(&self, picture: RgbImage) {
        self.previews.put(picture);
    }
}
