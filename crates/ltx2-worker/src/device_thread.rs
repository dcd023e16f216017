//! The loop of the thread that owns the device.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use ltx2_media::{Mp4Writer, remove_leftovers};
use ltx2_store::{Artifact, Claim, FileName, Store};
use ltx2_types::{Failure, FailureCode, Generator, Job};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::task_watch::{Interrupt, TaskWatch};
use crate::worker::Order;
use crate::{Activity, Settings, Status, inputs, keeper};

/// How long to wait after the store failed.
const RETRY: Duration = Duration::from_secs(1);
/// How often to look for tasks that nobody announced: those of lapsed leases.
const POLL: Duration = Duration::from_secs(5);

pub(crate) struct DeviceThread<G> {
    store: Store,
    generator: G,
    settings: Settings,
    runtime: Handle,
    order: watch::Receiver<Order>,
    status: watch::Sender<Status>,
    idle_since: Instant,
}

impl<G: Generator> DeviceThread<G> {
    pub(crate) fn new(
        store: Store,
        generator: G,
        settings: Settings,
        runtime: Handle,
        order: watch::Receiver<Order>,
    ) -> (Self, watch::Receiver<Status>) {
        let status = Status { device: generator.device(), loaded: generator.is_loaded(), activity: Activity::Idle };
        let (status, receiver) = watch::channel(status);
        let idle_since = Instant::now();
        (Self { store, generator, settings, runtime, order, status, idle_since }, receiver)
    }

    /// Runs tasks until told to stop.
    pub(crate) fn run(mut self) {
        self.clean_up();
        while !self.is_stopping() {
            match self.runtime.block_on(self.store.claim(&self.settings.name, self.settings.lease)) {
                Ok(Some(claim)) => {
                    self.announce(Activity::Busy);
                    self.run_task(&claim);
                    self.announce(Activity::Idle);
                    self.idle_since = Instant::now();
                }
                Ok(None) => self.wait(),
                Err(error) => {
                    tracing::error!(%error, "no task can be claimed: {error}");
                    self.pause(RETRY);
                }
            }
        }
        self.unload();
    }

    fn clean_up(&self) {
        match remove_leftovers(&self.store.outputs_dir()) {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "{files} unfinished videos of an earlier run are removed"),
            Err(error) => tracing::warn!(%error, "unfinished videos of an earlier run stay: {error}"),
        }
    }

    fn is_stopping(&self) -> bool {
        *self.order.borrow() == Order::Stop
    }

    fn announce(&self, activity: Activity) {
        let loaded = self.generator.is_loaded();
        self.status.send_modify(|status| *status = Status { loaded, activity, ..*status });
    }

    /// Waits for a task, giving the model's memory back when its time has come.
    fn wait(&mut self) {
        let mut longest = POLL;
        if let Some(timeout) = self.settings.idle_timeout.filter(|_| self.generator.is_loaded()) {
            let left = timeout.saturating_sub(self.idle_since.elapsed());
            if left.is_zero() {
                tracing::info!("the model is unloaded after {timeout:?} without a task");
                self.unload();
            } else {
                longest = POLL.min(left);
            }
        }
        self.pause(longest);
    }

    /// Returns after `longest`, or as soon as there is a task or an order.
    fn pause(&mut self, longest: Duration) {
        self.runtime.block_on(async {
            tokio::select! {
                () = self.store.wait_for_queued() => {}
                // An error means that the handle is gone, and that leaves an order to stop.
                _ = self.order.changed() => {}
                () = tokio::time::sleep(longest) => {}
            }
        });
    }

    fn unload(&mut self) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.generator.unload())) {
            tracing::error!("unloading the model panicked: {}", panic_text(&*panic));
        }
        self.announce(Activity::Idle);
    }

    fn run_task(&mut self, claim: &Claim) {
        let started = Instant::now();
        let id = claim.lease.task();
        tracing::info!(task = %id, attempt = claim.attempt, "task {id} starts");
        let (watch, progress) = TaskWatch::new(self.order.clone(), self.status.clone());
        let keeper = keeper::keep(self.store.clone(), claim.lease.clone(), progress, watch.lease_lost());
        let keeper = self.runtime.spawn(keeper);
        let outcome = self.guarded(claim, &watch);
        // What it may still be writing is void once the task has ended.
        keeper.abort();
        self.settle(claim, outcome, watch.interrupt(), started.elapsed());
    }

    /// Makes the video; a panic is one more way to fail.
    fn guarded(&mut self, claim: &Claim, watch: &TaskWatch) -> Result<Artifact, Failure> {
        catch_unwind(AssertUnwindSafe(|| self.make(claim, watch))).unwrap_or_else(|panic| {
            // Whatever it was in the middle of, a fresh model has nothing of it.
            self.unload();
            let reason = format!("the generation stopped by a mistake in the server: {}", panic_text(&*panic));
            Err(Failure::new(FailureCode::Internal, reason))
        })
    }

    fn make(&mut self, claim: &Claim, watch: &TaskWatch) -> Result<Artifact, Failure> {
        let request = &claim.request;
        let images = inputs::read_images(&self.store, request)?;
        let file = FileName::of_video(claim.lease.task());
        let mut writer = Mp4Writer::create(&self.store.output_path(&file))?;
        let report = self.generator.generate(Job { request, images: &images }, &mut writer, watch)?;
        writer.finish()?;
        Ok(Artifact { file, pipeline: report.pipeline })
    }

    fn settle(&self, claim: &Claim, outcome: Result<Artifact, Failure>, interrupt: Option<Interrupt>, took: Duration) {
        let (lease, id) = (&claim.lease, claim.lease.task());
        let stored = match (outcome, interrupt) {
            (Ok(artifact), _) => {
                tracing::info!(task = %id, seconds = took.as_secs_f64(), "task {id} is done after {took:.1?}");
                self.runtime.block_on(self.store.complete(lease, &artifact))
            }
            (Err(Failure { code: FailureCode::Cancelled, .. }), Some(Interrupt::Stopping)) => {
                tracing::info!(task = %id, "task {id} goes back to the queue: the server stops");
                self.runtime.block_on(self.store.release(lease))
            }
            (Err(Failure { code: FailureCode::Cancelled, .. }), Some(Interrupt::LeaseLost)) => {
                tracing::warn!(task = %id, "task {id} was taken by another worker");
                Ok(())
            }
            (Err(failure), _) => {
                tracing::error!(task = %id, code = ?failure.code, "task {id} failed: {failure}");
                self.runtime.block_on(self.store.fail(lease, &failure))
            }
        };
        if let Err(error) = stored {
            tracing::error!(task = %id, %error, "how task {id} ended could not be stored: {error}");
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}
