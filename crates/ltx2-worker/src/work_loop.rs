//! Work loop: claims tasks, runs them, stores their ends, and ends the idle engine.

use std::time::{Duration, Instant};

use ltx2_engine::{EngineClient, EngineState, remove_leftovers};
use ltx2_store::{Changes, Claim, Store};
use ltx2_types::Failure;
use tokio::sync::watch;

use crate::control::Commands;
use crate::finalize::Finalizer;
use crate::outcome::Outcome;
use crate::run::{Run, RunEnd};
use crate::settings::{Launch, WorkerSettings};
use crate::status::{Activity, WorkerStatus};

/// Time to wait after an error of the store.
const RETRY: Duration = Duration::from_secs(1);
/// Interval of claims without a notification, which reclaim expired leases.
const POLL: Duration = Duration::from_secs(5);

/// State of the work loop.
pub(crate) struct WorkLoop {
    pub(crate) store: Store,
    pub(crate) changes: Changes,
    pub(crate) launch: Launch,
    pub(crate) settings: WorkerSettings,
    pub(crate) commands: watch::Receiver<Commands>,
    pub(crate) status: watch::Sender<WorkerStatus>,
    /// The engine; `None` while none runs.
    pub(crate) engine: Option<EngineClient>,
    pub(crate) idle_since: Instant,
}

impl WorkLoop {
    /// Runs tasks until the worker is shut down.
    pub(crate) async fn run(mut self) {
        self.remove_leftovers().await;
        while !self.commands.borrow().stop {
            self.unload_if_commanded().await;
            match self.store.claim(&self.settings.name, self.settings.lease).await {
                Ok(Some(claim)) => {
                    self.set_activity(Activity::Busy);
                    self.run_task(&claim).await;
                    self.set_activity(Activity::Idle);
                    self.idle_since = Instant::now();
                }
                Ok(None) => self.wait().await,
                Err(error) => {
                    tracing::error!(%error, "claim failed: {error}");
                    self.pause(RETRY).await;
                }
            }
        }
        self.end_engine().await;
    }

    /// Removes unfinished files of engines that crashed or were killed.
    async fn remove_leftovers(&self) {
        let folder = self.store.outputs_dir();
        match tokio::task::spawn_blocking(move || remove_leftovers(&folder)).await {
            Ok(Ok(0)) => {}
            Ok(Ok(files)) => tracing::info!(files, "unfinished files removed"),
            Ok(Err(error)) => tracing::warn!(%error, "unfinished files not removed: {error}"),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    fn set_activity(&self, activity: Activity) {
        let loaded = self.engine.as_ref().is_some_and(|engine| engine.state() == EngineState::Loaded);
        self.status.send_modify(|status| *status = WorkerStatus { loaded, activity, ..*status });
    }

    /// Waits for a task, and ends the engine after the idle timeout.
    async fn wait(&mut self) {
        let mut longest = POLL;
        if let Some(idle_timeout) = self.settings.idle_timeout.filter(|_| self.engine.is_some()) {
            let left = idle_timeout.saturating_sub(self.idle_since.elapsed());
            if left.is_zero() {
                tracing::info!(seconds = idle_timeout.as_secs_f64(), "idle timeout: ending the engine");
                self.end_engine().await;
            } else {
                longest = POLL.min(left);
            }
        }
        self.pause(longest).await;
    }

    /// Waits for a change of the queue, a command or the exit of the engine, at most for `longest`.
    async fn pause(&mut self, longest: Duration) {
        let has_exited = async {
            match &mut self.engine {
                // An idle engine sends no events.
                Some(engine) => while engine.next_event().await.is_some() {},
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.changes.queue() => return,
            // An error means that the handle was dropped, which leaves a command to stop.
            _ = self.commands.changed() => return,
            () = tokio::time::sleep(longest) => return,
            () = has_exited => {}
        }
        if let Some(engine) = self.engine.take() {
            let failure = engine.into_failure().await;
            tracing::error!("idle engine failed: {failure}");
            self.set_activity(Activity::Idle);
        }
    }

    /// Executes the commands to unload since the last call.
    async fn unload_if_commanded(&mut self) {
        let unloads = self.commands.borrow_and_update().unloads;
        if unloads == self.status.borrow().unloads {
            return;
        }
        if self.engine.is_some() {
            tracing::info!("unload requested: ending the engine");
            self.end_engine().await;
        }
        self.status.send_modify(|status| status.unloads = unloads);
    }

    async fn end_engine(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.end().await;
            self.set_activity(Activity::Idle);
        }
    }

    async fn run_task(&mut self, claim: &Claim) {
        let started = Instant::now();
        tracing::info!(task = %claim.lease.task(), attempt = claim.attempt, "task started");
        let RunEnd { outcome, interrupt, engine } = match self.take_engine() {
            Ok(engine) => {
                let run = Run::new(&self.store, claim, &self.status, self.commands.clone(), engine);
                run.finish(self.settings.image).await
            }
            Err(failure) => RunEnd { outcome: Outcome::Failed(failure), interrupt: None, engine: None },
        };
        self.engine = engine;
        if self.engine.is_none() {
            self.remove_leftovers().await;
        }
        let finalizer = Finalizer { store: &self.store, commands: &self.commands, lease: &claim.lease };
        finalizer.finalize(outcome, interrupt, started.elapsed()).await;
    }

    /// Returns the idle engine, or starts one.
    fn take_engine(&mut self) -> Result<EngineClient, Failure> {
        match self.engine.take() {
            Some(engine) => Ok(engine),
            None => (self.launch)(),
        }
    }
}
