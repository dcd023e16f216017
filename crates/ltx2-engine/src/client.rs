//! Parent side: starts an engine and exchanges messages with it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::Duration;

use ltx2_types::{Failure, FailureCode, Phase, Progress};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::time::timeout;

use crate::protocol::Handshake;
use crate::{EngineCommand, EngineEvent, EngineState, PROTOCOL_VERSION};

/// Time for an engine to exit on its own, including freeing device memory.
const GRACE: Duration = Duration::from_secs(10);

/// Connection to an engine. Dropping it ends the engine.
#[derive(Debug)]
pub struct EngineClient {
    events: Lines<BufReader<OwnedReadHalf>>,
    commands: OwnedWriteHalf,
    process: Option<Child>,
    is_ready: bool,
    /// First invalid message.
    protocol_error: Option<Failure>,
    state: EngineState,
}

impl EngineClient {
    /// Starts `command`: a program that calls [`crate::host_engine`] with [`crate::engine_socket`].
    ///
    /// # Errors
    /// The process cannot be started.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start_process(mut command: Command) -> io::Result<Self> {
        let (ours, theirs) = StdStream::pair()?;
        // A process group of its own keeps Ctrl-C on a terminal from the engine.
        command.stdin(OwnedFd::from(theirs)).process_group(0);
        let mut command = tokio::process::Command::from(command);
        let process = command.kill_on_drop(true).spawn()?;
        Self::new(ours, Some(process))
    }

    /// Starts an engine on a thread of this process; `host` must call [`crate::host_engine`].
    ///
    /// # Errors
    /// The thread cannot be started.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start_thread(host: impl FnOnce(StdStream) + Send + 'static) -> io::Result<Self> {
        let (ours, theirs) = StdStream::pair()?;
        thread::Builder::new().name("ltx2-engine".into()).spawn(move || host(theirs))?;
        Self::new(ours, None)
    }

    fn new(stream: StdStream, process: Option<Child>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let (events, commands) = UnixStream::from_std(stream)?.into_split();
        let events = BufReader::new(events).lines();
        Ok(Self { events, commands, process, is_ready: false, protocol_error: None, state: EngineState::Empty })
    }

    /// Receives the next event. Returns `None` when the engine has exited or sent an invalid message;
    /// [`EngineClient::into_failure`] then returns the reason. Cancel safe.
    pub async fn next_event(&mut self) -> Option<EngineEvent> {
        if self.protocol_error.is_some() {
            return None;
        }
        let event = match self.events.next_line().await {
            Ok(Some(line)) => self.parse(&line),
            Ok(None) => return None,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(invalid(&error)),
            Err(error) => {
                tracing::warn!(%error, "cannot read from the engine");
                return None;
            }
        };
        match event {
            Ok(event) => {
                self.track_state(&event);
                Some(event)
            }
            Err(failure) => {
                tracing::error!("{failure}");
                self.protocol_error = Some(failure);
                None
            }
        }
    }

    /// Returns the last known state of the engine.
    pub fn state(&self) -> EngineState {
        self.state
    }

    fn track_state(&mut self, event: &EngineEvent) {
        match event {
            // The weights are loaded before these phases.
            EngineEvent::Progress(Progress { phase: Phase::Denoising | Phase::Decoding, .. }) => {
                self.state = EngineState::Loaded;
            }
            EngineEvent::Unready(_) => self.state = EngineState::Broken,
            EngineEvent::Ended { state, .. } => self.state = *state,
            _ => {}
        }
    }

    fn parse(&mut self, line: &str) -> Result<EngineEvent, Failure> {
        if !self.is_ready
            && let Ok(handshake) = serde_json::from_str::<Handshake>(line)
        {
            check_version(handshake.ready.protocol)?;
            self.is_ready = true;
        }
        let event = serde_json::from_str(line).map_err(|error| invalid(&error))?;
        match &event {
            EngineEvent::Ready { .. } | EngineEvent::Unready(_) => Ok(event),
            _ if self.is_ready => Ok(event),
            _ => Err(invalid(&"the first message is not `ready`")),
        }
    }

    /// Sends a command. Write errors are ignored: [`EngineClient::next_event`] reports that the engine has exited.
    pub async fn send(&mut self, command: &EngineCommand) {
        let line = serde_json::to_vec(command).map(|mut line| {
            line.push(b'\n');
            line
        });
        let sent = match line {
            Ok(line) => self.commands.write_all(&line).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "cannot write to the engine");
        }
    }

    /// Ends the engine and returns once its memory is free. An engine that does not exit in time is killed.
    pub async fn end(self) {
        let Self { events, commands, process, .. } = self;
        drop((events, commands));
        let Some(mut process) = process else { return };
        if timeout(GRACE, process.wait()).await.is_err() {
            tracing::warn!(seconds = GRACE.as_secs(), "the engine did not exit in time and is killed");
            kill(&mut process).await;
        }
    }

    /// Kills the engine, also in the middle of a job.
    pub async fn kill(self) {
        if let Some(mut process) = self.process {
            kill(&mut process).await;
        }
    }

    /// Returns the reason why [`EngineClient::next_event`] returned `None`.
    pub async fn into_failure(mut self) -> Failure {
        if let Some(failure) = self.protocol_error.take() {
            self.kill().await;
            return failure;
        }
        let status = match &mut self.process {
            Some(process) => timeout(GRACE, process.wait()).await.ok().and_then(Result::ok),
            None => None,
        };
        Failure::new(FailureCode::Internal, exit_message(status))
    }
}

async fn kill(process: &mut Child) {
    if let Err(error) = process.kill().await {
        tracing::error!(%error, "cannot kill the engine");
    }
}

fn check_version(protocol: u32) -> Result<(), Failure> {
    if protocol == PROTOCOL_VERSION {
        return Ok(());
    }
    let message = format!(
        "the engine has protocol version {protocol}, but the server needs version {PROTOCOL_VERSION}: the program was \
         replaced while the server ran; restart the server"
    );
    Err(Failure::new(FailureCode::Internal, message))
}

fn invalid(reason: &dyn std::fmt::Display) -> Failure {
    Failure::new(FailureCode::Internal, format!("invalid message from the engine: {reason}"))
}

fn exit_message(status: Option<ExitStatus>) -> String {
    match status {
        Some(status) if status.signal() == Some(libc::SIGKILL) => {
            "the engine was killed, probably because memory ran out; try a smaller size or fewer frames".into()
        }
        Some(status) => format!("the engine exited unexpectedly ({status}); see the server log"),
        None => "the engine exited unexpectedly; see the server log".into(),
    }
}
