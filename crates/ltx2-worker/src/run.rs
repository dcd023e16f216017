//! Run of one task: gives it to the engine, renews its lease, stores its progress and previews, and passes its signals
//! on.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ltx2_engine::{EngineClient, EngineCommand, EngineEvent, EngineJob, EngineState};
use ltx2_store::{Artifact, Changes, Claim, Completion, FileName, Lease, Signals, Store, StoreError};
use ltx2_types::{
    Failure, FailureCode, ImageLimits, InputFile, OutputFile, OutputInfo, OutputRole, OutputSpec, Phase, Progress,
    Report, TaskId,
};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::control::Commands;
use crate::outcome::{Interrupt, Outcome, storage_failure};
use crate::status::WorkerStatus;

/// Interval of heartbeats, within which signals of other processes are seen.
const HEARTBEAT: Duration = Duration::from_millis(250);
/// Minimum interval of heartbeats, for short leases.
const MIN_HEARTBEAT: Duration = Duration::from_millis(10);
/// Minimum interval between stored progress. Steps in between are stored together.
const REPORT: Duration = Duration::from_millis(500);

/// End of a run.
pub(crate) struct RunEnd {
    pub(crate) outcome: Outcome,
    pub(crate) interrupt: Option<Interrupt>,
    /// The engine, if it can run another task.
    pub(crate) engine: Option<EngineClient>,
}

/// Run of one task.
pub(crate) struct Run<'a> {
    store: &'a Store,
    claim: &'a Claim,
    lease: &'a Lease,
    status: &'a watch::Sender<WorkerStatus>,
    commands: watch::Receiver<Commands>,
    engine: EngineClient,
    state: RunState,
    /// Progress that is not stored yet.
    progress: Vec<Progress>,
    report_at: Instant,
    heartbeat_at: Instant,
}

/// Decision about the task so far.
#[derive(Default)]
struct RunState {
    interrupt: Option<Interrupt>,
    /// Whether the engine makes previews.
    previews: bool,
    /// The result, once it is prepared in the store.
    completion: Option<Completion>,
    /// Reason why the result could not be prepared.
    refusal: Option<Failure>,
}

/// Next event of a run.
enum Event {
    /// Event of the engine; `None` when it has exited.
    Engine(Option<EngineEvent>),
    Heartbeat,
    Shutdown,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        store: &'a Store,
        claim: &'a Claim,
        status: &'a watch::Sender<WorkerStatus>,
        commands: watch::Receiver<Commands>,
        engine: EngineClient,
    ) -> Self {
        let now = Instant::now();
        Self {
            store,
            claim,
            lease: &claim.lease,
            status,
            commands,
            engine,
            state: RunState::default(),
            progress: Vec::new(),
            report_at: now,
            heartbeat_at: now,
        }
    }

    /// Runs the task until the engine has ended it or the worker shuts down.
    pub(crate) async fn finish(mut self, limits: ImageLimits) -> RunEnd {
        let mut changes = self.store.changes();
        let job = match job(self.store, self.claim, limits).await {
            Ok(job) => job,
            Err(failure) => {
                return RunEnd { outcome: Outcome::Failed(failure), interrupt: None, engine: Some(self.engine) };
            }
        };
        self.engine.send(&EngineCommand::Make(Box::new(job))).await;
        loop {
            match self.next_event(&mut changes).await {
                Event::Engine(Some(EngineEvent::Ended { failure, state })) => return self.ended(failure, state).await,
                Event::Engine(Some(EngineEvent::Unready(failure))) => {
                    return self.ended(Some(failure), EngineState::Broken).await;
                }
                Event::Engine(Some(event)) => self.handle(event).await,
                Event::Engine(None) => return self.crashed().await,
                Event::Heartbeat => self.heartbeat().await,
                Event::Shutdown => return self.shut_down().await,
            }
        }
    }

    async fn next_event(&mut self, changes: &mut Changes) -> Event {
        let is_stopped = async {
            // An error means that the handle was dropped, which shuts the worker down as well.
            drop(self.commands.wait_for(|commands| commands.stop).await);
        };
        tokio::select! {
            event = self.engine.next_event() => Event::Engine(event),
            () = sleep_until(self.heartbeat_at) => Event::Heartbeat,
            () = changes.signals(self.lease.task()) => Event::Heartbeat,
            () = is_stopped => Event::Shutdown,
        }
    }

    async fn handle(&mut self, event: EngineEvent) {
        match event {
            EngineEvent::Ready { device, .. } => self.status.send_modify(|status| status.device = device),
            EngineEvent::Progress(progress) => {
                // The weights are loaded before these phases.
                if matches!(progress.phase, Phase::Denoising | Phase::Decoding) {
                    self.status.send_if_modified(|status| !std::mem::replace(&mut status.loaded, true));
                }
                self.progress.push(progress);
                self.heartbeat_at = self.heartbeat_at.min(self.report_at);
            }
            EngineEvent::Preview(jpeg) => self.put_preview(&jpeg).await,
            EngineEvent::Made { report, outputs } => self.prepare(report, outputs).await,
            EngineEvent::Unready(_) | EngineEvent::Ended { .. } => {}
        }
    }

    /// Stores a preview. The task continues if that fails.
    async fn put_preview(&self, jpeg: &str) {
        let Ok(jpeg) = BASE64_STANDARD.decode(jpeg) else { return };
        if let Err(error) = self.store.put_preview(self.lease, &jpeg).await {
            tracing::warn!(task = %self.lease.task(), %error, "preview not stored: {error}");
        }
    }

    /// Stores the result before its files get their names, so that it survives a crash in between.
    async fn prepare(&mut self, report: Report, outputs: Vec<OutputInfo>) {
        if self.state.interrupt.is_some() {
            return self.engine.send(&EngineCommand::Cancel).await;
        }
        let id = self.lease.task();
        let Report { pipeline, enhanced_prompt } = report;
        let outputs =
            outputs.into_iter().map(|info| Artifact::new(output_name(id, info.role, self.claim.request.output), info));
        let completion = Completion { outputs: outputs.collect(), pipeline, enhanced_prompt };
        match self.store.prepare(self.lease, &completion).await {
            Ok(()) => {
                self.state.completion = Some(completion);
                self.engine.send(&EngineCommand::Publish).await;
            }
            Err(error) => {
                tracing::error!(task = %id, %error, "result not stored: {error}");
                self.state.refusal = Some(storage_failure(&error));
                self.engine.send(&EngineCommand::Cancel).await;
            }
        }
    }

    /// Renews the lease, stores progress if it is due, and applies the signals.
    async fn heartbeat(&mut self) {
        let now = Instant::now();
        let third = (self.lease.length() / 3).max(MIN_HEARTBEAT);
        self.heartbeat_at = now + HEARTBEAT.min(third);
        let progress = if now >= self.report_at { &self.progress[..] } else { &[] };
        match self.store.heartbeat(self.lease, progress).await {
            Ok(signals) => {
                if !progress.is_empty() {
                    self.progress.clear();
                    self.report_at = now + REPORT.min(third);
                }
                self.apply(signals).await;
            }
            Err(StoreError::LeaseLost(_)) => self.interrupt(Interrupt::LeaseLost).await,
            Err(error) => tracing::warn!(task = %self.lease.task(), %error, "heartbeat failed: {error}"),
        }
    }

    async fn apply(&mut self, signals: Signals) {
        if signals.cancel {
            self.interrupt(Interrupt::Cancelled).await;
        }
        if signals.previews != self.state.previews {
            self.state.previews = signals.previews;
            self.engine.send(&EngineCommand::Previews(signals.previews)).await;
        }
    }

    async fn interrupt(&mut self, interrupt: Interrupt) {
        if self.state.interrupt.is_none() {
            self.state.interrupt = Some(interrupt);
            self.engine.send(&EngineCommand::Cancel).await;
        }
    }

    /// Stores all progress.
    async fn flush(&mut self) {
        if !self.progress.is_empty() {
            self.report_at = Instant::now();
            self.heartbeat().await;
        }
    }

    async fn ended(mut self, failure: Option<Failure>, state: EngineState) -> RunEnd {
        self.flush().await;
        let RunState { interrupt, completion, refusal, .. } = self.state;
        let outcome = match (refusal.or(failure), completion) {
            (Some(failure), _) => Outcome::Failed(failure),
            (None, Some(completion)) => Outcome::Completed(completion),
            (None, None) => {
                let message = "the engine ended the task without a result";
                Outcome::Failed(Failure::new(FailureCode::Internal, message))
            }
        };
        if state == EngineState::Broken {
            self.engine.end().await;
            return RunEnd { outcome, interrupt, engine: None };
        }
        RunEnd { outcome, interrupt, engine: Some(self.engine) }
    }

    async fn crashed(mut self) -> RunEnd {
        self.flush().await;
        let outcome = Outcome::EngineCrashed(self.engine.into_failure().await);
        RunEnd { outcome, interrupt: self.state.interrupt, engine: None }
    }

    /// Kills the engine: the task will run again, so that there is nothing to wait for.
    async fn shut_down(mut self) -> RunEnd {
        self.flush().await;
        self.engine.kill().await;
        let interrupt = self.state.interrupt.unwrap_or(Interrupt::Shutdown);
        RunEnd { outcome: Outcome::Failed(Failure::cancelled()), interrupt: Some(interrupt), engine: None }
    }
}

/// Returns the job of `claim` for the engine.
async fn job(store: &Store, claim: &Claim, limits: ImageLimits) -> Result<EngineJob, Failure> {
    let mut inputs = Vec::new();
    for input in claim.request.task.inputs() {
        let path = store.input_path(input.source).await;
        let path = path.map_err(|error| Failure::new(FailureCode::BadInput, error.to_string()))?;
        inputs.push(InputFile { id: input.id, kind: input.kind, path });
    }
    let spec = claim.request.output;
    let output = |role| {
        let name = output_name(claim.lease.task(), role, spec);
        OutputFile { role, spec, path: store.output_path(&name) }
    };
    Ok(EngineJob {
        request: claim.request.clone(),
        inputs,
        outputs: [OutputRole::Video, OutputRole::Thumbnail, OutputRole::LastFrame].map(output).into(),
        limits,
    })
}

/// Returns the name of an output of task `id`.
fn output_name(id: &TaskId, role: OutputRole, spec: OutputSpec) -> FileName {
    let extension = match role {
        OutputRole::Video => spec.container.extension(),
        OutputRole::Thumbnail => "jpg",
        OutputRole::LastFrame => "png",
    };
    FileName::of_output(id, extension)
}
