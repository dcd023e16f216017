//! One task: given to the engine, its lease kept alive, its progress and previews stored, its wishes passed on.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ltx2_engine::{EngineClient, EngineCommand, EngineEvent, EngineJob, EngineState};
use ltx2_store::{Artifact, Change, Claim, FileName, Lease, Store, StoreError};
use ltx2_types::{
    Failure, FailureCode, ImageLimits, InputFile, OutputFile, OutputRole, Phase, Progress, Report, TaskInput,
};
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep_until};

use crate::orders::Orders;
use crate::{Status, settle};

/// Progress is written at most this often, all steps since the last time together.
const THROTTLE: Duration = Duration::from_millis(500);
/// Heartbeats are not denser than this, however short the lease.
const DENSEST: Duration = Duration::from_millis(10);
/// How often to look whether someone would like previews.
const VIEWERS: Duration = Duration::from_millis(250);

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

/// How a run ended.
pub(crate) struct RunEnd {
    pub(crate) outcome: Result<Artifact, Failure>,
    pub(crate) interrupt: Option<Interrupt>,
    /// The engine, if it can take another task.
    pub(crate) engine: Option<EngineClient>,
}

/// The run of one task.
pub(crate) struct Run<'a> {
    pub(crate) store: &'a Store,
    pub(crate) lease: &'a Lease,
    pub(crate) status: &'a watch::Sender<Status>,
    pub(crate) orders: watch::Receiver<Orders>,
    pub(crate) engine: EngineClient,
    told: Told,
    steps: Vec<Progress>,
    write_at: Instant,
    beat_at: Instant,
}

/// What was said about the task so far.
#[derive(Default)]
struct Told {
    interrupt: Option<Interrupt>,
    previews: bool,
    /// What the engine made, once that is written down.
    artifact: Option<Artifact>,
    /// Why what it made cannot be kept.
    refusal: Option<Failure>,
}

/// What the next wait brought.
enum Event {
    Engine(Option<EngineEvent>),
    WriteSteps,
    Beat,
    LookForViewers,
    Changed,
    Stop,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        store: &'a Store,
        lease: &'a Lease,
        status: &'a watch::Sender<Status>,
        orders: watch::Receiver<Orders>,
        engine: EngineClient,
    ) -> Self {
        let (write_at, beat_at) = (Instant::now(), Instant::now() + beat(lease));
        Self { store, lease, status, orders, engine, told: Told::default(), steps: Vec::new(), write_at, beat_at }
    }

    /// Runs `claim` to its end, or until it is not ours to run any more.
    pub(crate) async fn finish(mut self, claim: &Claim, limits: ImageLimits) -> RunEnd {
        match job(self.store, claim, limits) {
            Ok(job) => self.engine.send(&EngineCommand::Make(Box::new(job))).await,
            Err(failure) => return RunEnd { outcome: Err(failure), interrupt: None, engine: Some(self.engine) },
        }
        let mut changes = self.store.changes();
        // A wish that came before `changes`.
        self.look_for_cancel().await;
        loop {
            match self.next_event(&mut changes).await {
                Event::Engine(Some(EngineEvent::Ended { failure, state })) => return self.ended(failure, state).await,
                Event::Engine(Some(EngineEvent::Unready(failure))) => {
                    return self.ended(Some(failure), EngineState::Broken).await;
                }
                Event::Engine(Some(event)) => self.take(event).await,
                Event::Engine(None) => {
                    self.write_steps().await;
                    let interrupt = self.told.interrupt;
                    return RunEnd { outcome: Err(self.engine.into_failure().await), interrupt, engine: None };
                }
                Event::WriteSteps => self.write_steps().await,
                Event::Beat => self.beat().await,
                Event::LookForViewers => self.look_for_viewers().await,
                Event::Changed => self.look_for_cancel().await,
                Event::Stop => return self.cut().await,
            }
        }
    }

    async fn next_event(&mut self, changes: &mut broadcast::Receiver<Change>) -> Event {
        let is_stopped = async {
            // An error means that the handle is gone, and that leaves an order to stop.
            drop(self.orders.wait_for(|orders| orders.stop).await);
        };
        tokio::select! {
            event = self.engine.next_event() => Event::Engine(event),
            () = sleep_until(self.write_at), if !self.steps.is_empty() => Event::WriteSteps,
            () = sleep_until(self.beat_at) => Event::Beat,
            () = tokio::time::sleep(VIEWERS) => Event::LookForViewers,
            () = Store::wait_for_change(changes, self.lease.task()) => Event::Changed,
            () = is_stopped => Event::Stop,
        }
    }

    async fn take(&mut self, event: EngineEvent) {
        match event {
            EngineEvent::Ready { device, .. } => self.status.send_modify(|status| status.device = device),
            EngineEvent::Progress(progress) => {
                // Past its loading it holds the model.
                if matches!(progress.phase, Phase::Denoising | Phase::Decoding) {
                    self.status.send_if_modified(|status| !std::mem::replace(&mut status.loaded, true));
                }
                self.steps.push(progress);
            }
            EngineEvent::Preview(jpeg) => self.put_preview(&jpeg).await,
            EngineEvent::Made { report, .. } => self.keep(report).await,
            EngineEvent::Unready(_) | EngineEvent::Ended { .. } => {}
        }
        self.look_for_viewers().await;
    }

    /// The task goes on without a preview that cannot be kept.
    async fn put_preview(&self, jpeg: &str) {
        let id = self.lease.task();
        let Ok(jpeg) = BASE64_STANDARD.decode(jpeg) else { return };
        let (store, lease) = (self.store.clone(), self.lease.clone());
        match tokio::task::spawn_blocking(move || store.put_preview(&lease, &jpeg)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(task = %id, %error, "a preview of task {id} could not be stored: {error}"),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// Writes down what was made before it gets its name, so that a crash in between loses nothing.
    async fn keep(&mut self, report: Report) {
        if self.told.interrupt.is_some() {
            return self.engine.send(&EngineCommand::Cancel).await;
        }
        let id = self.lease.task();
        let artifact = Artifact {
            file: FileName::of_video(id),
            thumbnail: Some(FileName::of_thumbnail(id)),
            pipeline: report.pipeline,
            enhanced_prompt: report.enhanced_prompt,
        };
        match self.store.prepare(self.lease, &artifact).await {
            Ok(()) => {
                self.told.artifact = Some(artifact);
                self.engine.send(&EngineCommand::Publish).await;
            }
            Err(error) => {
                tracing::error!(task = %id, %error, "the result of task {id} cannot be stored: {error}");
                self.told.refusal = Some(Failure::new(FailureCode::Output, settle::outside(&error)));
                self.engine.send(&EngineCommand::Cancel).await;
            }
        }
    }

    async fn look_for_viewers(&mut self) {
        let wanted = self.store.is_preview_wanted(self.lease.task());
        if wanted != self.told.previews {
            self.told.previews = wanted;
            self.engine.send(&EngineCommand::Previews(wanted)).await;
        }
    }

    async fn look_for_cancel(&mut self) {
        match self.store.is_cancel_requested(self.lease).await {
            Ok(true) => self.interrupt(Interrupt::Cancelled).await,
            Ok(false) => {}
            Err(error) => self.store_failed(&error).await,
        }
    }

    async fn interrupt(&mut self, interrupt: Interrupt) {
        if self.told.interrupt.is_none() {
            self.told.interrupt = Some(interrupt);
            self.engine.send(&EngineCommand::Cancel).await;
        }
    }

    async fn beat(&mut self) {
        self.beat_at = Instant::now() + beat(self.lease);
        if let Err(error) = self.store.heartbeat(self.lease).await {
            self.store_failed(&error).await;
        }
    }

    async fn write_steps(&mut self) {
        if self.steps.is_empty() {
            return;
        }
        self.write_at = Instant::now() + THROTTLE.min(beat(self.lease));
        self.beat_at = Instant::now() + beat(self.lease);
        match self.store.report_steps(self.lease, &self.steps).await {
            Ok(()) => self.steps.clear(),
            Err(error) => self.store_failed(&error).await,
        }
    }

    async fn store_failed(&mut self, error: &StoreError) {
        if matches!(error, StoreError::LeaseLost(_)) {
            return self.interrupt(Interrupt::LeaseLost).await;
        }
        let id = self.lease.task();
        tracing::warn!(task = %id, %error, "the progress of task {id} could not be stored: {error}");
    }

    async fn ended(mut self, failure: Option<Failure>, state: EngineState) -> RunEnd {
        self.write_steps().await;
        let Told { interrupt, artifact, refusal, .. } = self.told;
        let unasked = || Failure::new(FailureCode::Internal, "the engine ended a task without a result");
        let outcome = match (refusal.or(failure), artifact) {
            (Some(failure), _) => Err(failure),
            (None, artifact) => artifact.ok_or_else(unasked),
        };
        if state == EngineState::Broken {
            self.engine.end().await;
            return RunEnd { outcome, interrupt, engine: None };
        }
        RunEnd { outcome, interrupt, engine: Some(self.engine) }
    }

    /// The worker stops: the task will be run again, so that nothing is waited for.
    async fn cut(mut self) -> RunEnd {
        self.write_steps().await;
        self.engine.kill().await;
        let outcome = Err(Failure::new(FailureCode::Cancelled, "cancelled"));
        RunEnd { outcome, interrupt: Some(self.told.interrupt.unwrap_or(Interrupt::Stopping)), engine: None }
    }
}

fn beat(lease: &Lease) -> Duration {
    (lease.length() / 3).max(DENSEST)
}

fn job(store: &Store, claim: &Claim, limits: ImageLimits) -> Result<EngineJob, Failure> {
    let input = |TaskInput { id, kind, source }: TaskInput<'_>| {
        let name = FileName::parse(&source.to_string()).ok_or_else(|| {
            Failure::new(FailureCode::BadInput, format!("{:?} is not the name of an input file", source.to_string()))
        })?;
        Ok(InputFile { id, kind, path: store.input_path(&name) })
    };
    let output = |role, name| OutputFile { role, spec: claim.request.output, path: store.output_path(&name) };
    let id = claim.lease.task();
    Ok(EngineJob {
        inputs: claim.request.task.inputs().into_iter().map(input).collect::<Result<_, Failure>>()?,
        outputs: vec![
            output(OutputRole::Video, FileName::of_video(id)),
            output(OutputRole::Thumbnail, FileName::of_thumbnail(id)),
        ],
        request: claim.request.clone(),
        limits,
    })
}
