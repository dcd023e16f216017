//! The loop of the thread that owns the device.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use ltx2_media::{Mp4Writer, WithThumbnail, remove_leftovers};
use ltx2_store::{Artifact, Claim, FileName, Store};
use ltx2_types::{Failure, FailureCode, Generator, Job};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::orders::Orders;
use crate::settle::End;
use crate::task_previews::TaskPreviews;
use crate::task_watch::TaskWatch;
use crate::{Activity, Settings, Status, inputs, keeper, memory, settle};

/// How long to wait after the store failed.
const RETRY: Duration = Duration::from_secs(1);
/// How often to look for tasks that nobody announced: those of lapsed leases.
const POLL: Duration = Duration::from_secs(5);

pub(crate) struct DeviceThread<G> {
    store: Store,
    generator: G,
    settings: Settings,
    runtime: Handle,
    orders: watch::Receiver<Orders>,
    status: watch::Sender<Status>,
    idle_since: Instant,
}

impl<G: Generator> DeviceThread<G> {
    pub(crate) fn new(
        store: Store,
        generator: G,
        settings: Settings,
        runtime: Handle,
        orders: watch::Receiver<Orders>,
    ) -> (Self, watch::Receiver<Status>) {
        let status =
            Status { device: generator.device(), loaded: generator.is_loaded(), activity: Activity::Idle, unloads: 0 };
        let (status, receiver) = watch::channel(status);
        let idle_since = Instant::now();
        (Self { store, generator, settings, runtime, orders, status, idle_since }, receiver)
    }

    /// Runs tasks until told to stop.
    pub(crate) fn run(mut self) {
        self.clean_up();
        while !self.is_stopping() {
            self.unload_if_told();
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
        self.orders.borrow().stop
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
                _ = self.orders.changed() => {}
                () = tokio::time::sleep(longest) => {}
            }
        });
    }

    /// Carries out orders to unload that came since the last time.
    fn unload_if_told(&mut self) {
        let told = self.orders.borrow_and_update().unloads;
        if told == self.status.borrow().unloads {
            return;
        }
        if self.generator.is_loaded() {
            tracing::info!("the model is unloaded as ordered");
            self.unload();
        }
        self.status.send_modify(|status| status.unloads = told);
    }

    fn unload(&mut self) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.generator.unload())) {
            tracing::error!("unloading the model panicked: {}", panic_text(&*panic));
        }
        memory::give_back();
        self.announce(Activity::Idle);
    }

    fn run_task(&mut self, claim: &Claim) {
        let started = Instant::now();
        let id = claim.lease.task();
        tracing::info!(task = %id, attempt = claim.attempt, "task {id} starts");
        let (watch, progress) = TaskWatch::new(self.orders.clone(), self.status.clone(), self.previews(claim));
        let keeper = keeper::keep(self.store.clone(), claim.lease.clone(), progress, watch.news());
        let keeper = self.runtime.spawn(keeper);
        let outcome = self.guarded(claim, &watch);
        let interrupt = watch.interrupt();
        // The keeper ends when it has written every step that the watch was told.
        drop(watch);
        if let Err(error) = self.runtime.block_on(keeper) {
            tracing::error!(task = %id, %error, "the keeper of task {id} broke: {error}");
        }
        let end = End { store: &self.store, orders: &self.orders, lease: &claim.lease };
        self.runtime.block_on(end.settle(outcome, interrupt, started.elapsed()));
    }

    fn previews(&self, claim: &Claim) -> TaskPreviews {
        TaskPreviews { store: self.store.clone(), lease: claim.lease.clone() }
    }

    /// Makes the video; a panic is one more way to fail.
    fn guarded(&mut self, claim: &Claim, watch: &TaskWatch) -> Result<Artifact, Failure> {
        catch_unwind(AssertUnwindSafe(|| self.make(claim, watch))).unwrap_or_else(|panic| {
            let id = claim.lease.task();
            tracing::error!(task = %id, "task {id} panicked: {}", panic_text(&*panic));
            // Whatever it was in the middle of, a fresh model has nothing of it.
            self.unload();
            let reason = "the generation stopped by a mistake in the server; the server's log says more";
            Err(Failure::new(FailureCode::Internal, reason))
        })
    }

    fn make(&mut self, claim: &Claim, watch: &TaskWatch) -> Result<Artifact, Failure> {
        let (request, id) = (&claim.request, claim.lease.task());
        let images = inputs::read_images(&self.store, request, self.settings.image)?;
        let (file, thumbnail) = (FileName::of_video(id), FileName::of_thumbnail(id));
        let mut writer = Mp4Writer::create(&self.store.output_path(&file))?;
        let mut output = WithThumbnail::new(&mut writer);
        let report = self.generator.generate(Job { request, images: &images }, &mut output, watch)?;
        output.write(&self.store.output_path(&thumbnail))?;
        let artifact = Artifact { file, thumbnail: Some(thumbnail), pipeline: report.pipeline };
        self.runtime.block_on(self.store.prepare(&claim.lease, &artifact)).map_err(|error| {
            tracing::error!(task = %id, %error, "the result of task {id} cannot be stored: {error}");
            Failure::new(FailureCode::Output, settle::outside(&error))
        })?;
        writer.finish()?;
        Ok(artifact)
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}
