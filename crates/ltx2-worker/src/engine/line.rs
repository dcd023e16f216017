//! The server's side: an engine, and the line to it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::Duration;

use ltx2_types::{Failure, FailureCode};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::time::timeout;

use super::{EngineState, Note, Order};

/// How long an engine that is to end may take, with a device's memory to be freed.
const GRACE: Duration = Duration::from_secs(10);

/// A line to an engine. Dropping it ends the engine.
#[derive(Debug)]
pub struct Line {
    notes: Lines<BufReader<OwnedReadHalf>>,
    orders: OwnedWriteHalf,
    process: Option<Child>,
    /// As far as it told.
    pub(crate) state: EngineState,
}

impl Line {
    /// To an engine that `command` starts: a process that calls [`crate::host_engine`] with [`crate::engine_socket`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn to_process(mut command: Command) -> io::Result<Self> {
        let (ours, theirs) = StdStream::pair()?;
        // In a group of its own, so that Ctrl-C on a terminal reaches the server alone.
        command.stdin(OwnedFd::from(theirs)).process_group(0);
        let mut command = tokio::process::Command::from(command);
        let process = command.kill_on_drop(true).spawn()?;
        Self::new(ours, Some(process))
    }

    /// To an engine on a thread of this process: `host` is to call [`crate::host_engine`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn to_thread(host: impl FnOnce(StdStream) + Send + 'static) -> io::Result<Self> {
        let (ours, theirs) = StdStream::pair()?;
        thread::Builder::new().name("ltx2-engine".into()).spawn(move || host(theirs))?;
        Self::new(ours, None)
    }

    fn new(stream: StdStream, process: Option<Child>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let (notes, orders) = UnixStream::from_std(stream)?.into_split();
        Ok(Self { notes: BufReader::new(notes).lines(), orders, process, state: EngineState::Empty })
    }

    /// What it tells next; `None` when it is gone.
    pub(crate) async fn next(&mut self) -> Option<Note> {
        let note = match self.notes.next_line().await {
            Ok(Some(line)) => serde_json::from_str(&line).map_err(io::Error::from),
            Ok(None) => return None,
            Err(error) => Err(error),
        };
        note.inspect_err(|error| tracing::error!(%error, "the engine's word cannot be read: {error}")).ok()
    }

    /// An engine that does not hear it is gone, which [`Line::next`] tells.
    pub(crate) async fn tell(&mut self, order: &Order) {
        let line = serde_json::to_vec(order).map(|mut line| {
            line.push(b'\n');
            line
        });
        let told = match line {
            Ok(line) => self.orders.write_all(&line).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = told {
            tracing::warn!(%error, "the engine does not hear: {error}");
        }
    }

    /// Ends the engine, and returns when all it held is back.
    pub(crate) async fn end(self) {
        let Self { notes, orders, process, .. } = self;
        drop((notes, orders));
        let Some(mut process) = process else { return };
        if timeout(GRACE, process.wait()).await.is_err() {
            tracing::warn!("the engine does not leave by itself and is killed");
            kill(&mut process).await;
        }
    }

    /// Ends the engine at once, in the midst of its work.
    pub(crate) async fn cut(self) {
        if let Some(mut process) = self.process {
            kill(&mut process).await;
        }
    }

    /// Why an engine that is gone went.
    pub(crate) async fn why_gone(mut self) -> Failure {
        let status = match &mut self.process {
            Some(process) => timeout(GRACE, process.wait()).await.ok().and_then(Result::ok),
            None => None,
        };
        Failure::new(FailureCode::Internal, gone(status))
    }
}

async fn kill(process: &mut Child) {
    if let Err(error) = process.kill().await {
        tracing::error!(%error, "the engine cannot be killed: {error}");
    }
}

fn gone(status: Option<ExitStatus>) -> String {
    use std::os::unix::process::ExitStatusExt;
    match status {
        Some(status) if status.signal() == Some(libc::SIGKILL) => {
            "the engine was killed, as the system does when memory runs out; a smaller size or fewer frames may fit"
                .into()
        }
        Some(status) => format!("the engine broke ({status}); the server's log may say more"),
        None => "the engine broke; the server's log may say more".into(),
    }
}
