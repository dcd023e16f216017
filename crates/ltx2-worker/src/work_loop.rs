//! The worker's loop: claim, run, settle, and end the engine when its time has come.

use std::time::{Duration, Instant};

use ltx2_engine::{EngineClient, EngineState, remove_leftovers};
use ltx2_store::{Claim, Store};
use ltx2_types::Failure;
use tokio::sync::watch;

use crate::orders::Orders;
use crate::run::{Run, RunEnd};
use crate::settle::End;
use crate::worker::Launch;
use crate::{Activity, Settings, Status};

/// How long to wait after the store failed.
const RETRY: Duration = Duration::from_secs(1);
/// How often to look for tasks that nobody announced: those of lapsed leases.
const POLL: Duration = Duration::from_secs(5);

pub(crate) struct WorkLoop {
    pub(crate) store: Store,
    pub(crate) launch: Launch,
    pub(crate) settings: Settings,
    pub(crate) orders: watch::Receiver<Orders>,
    pub(crate) status: watch::Sender<Status>,
    /// `None` while no engine runs.
    pub(crate) engine: Option<EngineClient>,
    pub(crate) idle_since: Instant,
}

impl WorkLoop {
    /// Runs tasks until told to stop.
    pub(crate) async fn run(mut self) {
        self.clean_up().await;
        while !self.orders.borrow().stop {
            self.unload_if_told().await;
            match self.store.claim(&self.settings.name, self.settings.lease).await {
                Ok(Some(claim)) => {
                    self.announce(Activity::Busy);
                    self.run_task(&claim).await;
                    self.announce(Activity::Idle);
                    self.idle_since = Instant::now();
                }
                Ok(None) => self.wait().await,
                Err(error) => {
                    tracing::error!(%error, "no task can be claimed: {error}");
                    self.pause(RETRY).await;
                }
            }
        }
        self.end_engine().await;
    }

    /// Removes what engines left that did not end by themselves.
    async fn clean_up(&self) {
        let folder = self.store.outputs_dir();
        match tokio::task::spawn_blocking(move || remove_leftovers(&folder)).await {
            Ok(Ok(0)) => {}
            Ok(Ok(files)) => tracing::info!(files, "{files} unfinished files are removed"),
            Ok(Err(error)) => tracing::warn!(%error, "unfinished files stay: {error}"),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    fn announce(&self, activity: Activity) {
        let loaded = self.engine.as_ref().is_some_and(|engine| engine.state() == EngineState::Loaded);
        self.status.send_modify(|status| *status = Status { loaded, activity, ..*status });
    }

    /// Waits for a task, ending the engine when its time has come.
    async fn wait(&mut self) {
        let mut longest = POLL;
        if let Some(idle_timeout) = self.settings.idle_timeout.filter(|_| self.engine.is_some()) {
            let left = idle_timeout.saturating_sub(self.idle_since.elapsed());
            if left.is_zero() {
                tracing::info!("the engine ends after {idle_timeout:?} without a task");
                self.end_engine().await;
            } else {
                longest = POLL.min(left);
            }
        }
        self.pause(longest).await;
    }

    /// Returns after `longest`, or as soon as there is a task, an order, or no engine any more.
    async fn pause(&mut self, longest: Duration) {
        let store = self.store.clone();
        let is_gone = async {
            match &mut self.engine {
                // An idle engine has nothing to tell; what comes is that it is gone.
                Some(engine) => while engine.next_event().await.is_some() {},
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = store.wait_for_queued() => return,
            // An error means that the handle is gone, and that leaves an order to stop.
            _ = self.orders.changed() => return,
            () = tokio::time::sleep(longest) => return,
            () = is_gone => {}
        }
        if let Some(engine) = self.engine.take() {
            let failure = engine.into_failure().await;
            tracing::error!("idle engine failed: {failure}");
            self.announce(Activity::Idle);
        }
    }

    /// Carries out orders to unload that came since the last time.
    async fn unload_if_told(&mut self) {
        let told = self.orders.borrow_and_update().unloads;
        if told == self.status.borrow().unloads {
            return;
        }
        if self.engine.is_some() {
            tracing::info!("the engine ends as ordered");
            self.end_engine().await;
        }
        self.status.send_modify(|status| status.unloads = told);
    }

    async fn end_engine(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.end().await;
            self.announce(Activity::Idle);
        }
    }

    async fn run_task(&mut self, claim: &Claim) {
        let started = Instant::now();
        let id = claim.lease.task();
        tracing::info!(task = %id, attempt = claim.attempt, "task {id} starts");
        let RunEnd { outcome, interrupt, engine } = match self.take_engine() {
            Ok(engine) => {
                let run = Run::new(&self.store, &claim.lease, &self.status, self.orders.clone(), engine);
                run.finish(claim, self.settings.image).await
            }
            Err(failure) => RunEnd { outcome: Err(failure), interrupt: None, engine: None },
        };
        self.engine = engine;
        if self.engine.is_none() {
            self.clean_up().await;
        }
        let end = End { store: &self.store, orders: &self.orders, lease: &claim.lease };
        end.settle(outcome, interrupt, started.elapsed()).await;
    }

    /// The engine that waits, or a fresh one.
    fn take_engine(&mut self) -> Result<EngineClient, Failure> {
        match self.engine.take() {
            Some(engine) => Ok(engine),
            None => (self.launch)(),
        }
    }
}
