//! Child side: runs jobs one after the other and writes their output files.

use std::any::Any;
use std::io::{self, BufRead, BufReader};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use ltx2_media::{FileInputs, FileOutputs, metadata};
use ltx2_types::{Failure, FailureCode, Generator, Job};

use crate::progress::{JobSignals, JobWatch, send};
use crate::{EngineCommand, EngineEvent, EngineJob, EngineState, PROTOCOL_VERSION};

/// Runs the jobs that the server at the other end of `stream` sends, with the generator that `open` returns. Returns
/// when the server has disconnected or the generator must be restarted.
///
/// `on_disconnect` is called as soon as the server has disconnected, also in the middle of a job.
///
/// # Errors
/// The socket cannot be used.
pub fn host_engine<G: Generator>(
    stream: UnixStream,
    open: impl FnOnce() -> Result<G, Failure>,
    on_disconnect: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let stream = ShutdownOnDrop(stream);
    let signals = Arc::new(JobSignals::default());
    let (sender, commands) = mpsc::channel();
    let reader = BufReader::new(stream.0.try_clone()?);
    thread::Builder::new().name("ltx2-commands".into()).spawn({
        let signals = signals.clone();
        move || {
            read_commands(reader, &sender, &signals);
            signals.cancel();
            on_disconnect();
        }
    })?;
    let generator = match open() {
        Ok(generator) => generator,
        Err(failure) => return send(&stream.0, &EngineEvent::Unready(failure)),
    };
    let ready =
        EngineEvent::Ready { protocol: PROTOCOL_VERSION, device: generator.device(), gpu: generator.gpu_name() };
    send(&stream.0, &ready)?;
    Host { stream, commands, signals, generator }.serve()
}

/// Closes the connection when the host ends, by return or by panic.
struct ShutdownOnDrop(UnixStream);

impl Drop for ShutdownOnDrop {
    fn drop(&mut self) {
        // It fails if the server has closed its end already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Reads commands until the end of the stream or the first invalid command.
fn read_commands(reader: BufReader<UnixStream>, sender: &Sender<EngineCommand>, signals: &JobSignals) {
    for line in reader.lines() {
        let command = line.and_then(|line| Ok(serde_json::from_str::<EngineCommand>(&line)?));
        let command = match command {
            Ok(command) => command,
            Err(error) => return tracing::error!(%error, "invalid command from the server"),
        };
        match &command {
            EngineCommand::Make(_) => signals.reset(),
            EngineCommand::Cancel => signals.cancel(),
            EngineCommand::Previews(wanted) => signals.set_previews(*wanted),
            EngineCommand::Publish => {}
        }
        // The host has ended.
        if sender.send(command).is_err() {
            return;
        }
    }
}

struct Host<G> {
    stream: ShutdownOnDrop,
    commands: Receiver<EngineCommand>,
    signals: Arc<JobSignals>,
    generator: G,
}

impl<G: Generator> Host<G> {
    fn serve(mut self) -> io::Result<()> {
        while let Ok(command) = self.commands.recv() {
            // Other commands belong to a job that has ended already.
            let EngineCommand::Make(job) = command else { continue };
            let (failure, state) = match catch_unwind(AssertUnwindSafe(|| self.run(&job))) {
                Ok(Err(failure)) if failure.code.is_fatal() => (Some(failure), EngineState::Broken),
                Ok(outcome) => (outcome.err(), self.state()),
                Err(panic) => {
                    tracing::error!("the engine panicked: {}", panic_text(&*panic));
                    let message = "internal error: the engine panicked; see the server log";
                    (Some(Failure::new(FailureCode::Internal, message)), EngineState::Broken)
                }
            };
            send(&self.stream.0, &EngineEvent::Ended { failure, state })?;
            if state == EngineState::Broken {
                break;
            }
        }
        Ok(())
    }

    fn state(&self) -> EngineState {
        if self.generator.is_loaded() { EngineState::Loaded } else { EngineState::Empty }
    }

    fn run(&mut self, job: &EngineJob) -> Result<(), Failure> {
        let mut inputs = FileInputs::new(job.inputs.clone(), job.limits);
        let metadata = metadata(&job.request, self.generator.provenance(&job.request).as_ref());
        let mut outputs = FileOutputs::create(&job.outputs, metadata.as_deref())?;
        let watch = JobWatch::new(&self.stream.0, &self.signals);
        let report =
            self.generator.generate(Job { request: &job.request, inputs: &mut inputs }, &mut outputs, &watch)?;
        let pending = outputs.finish()?;
        self.wait_for_publish(&EngineEvent::Made { report, outputs: pending.info() })?;
        Ok(pending.publish()?)
    }

    /// Sends `made` and waits until the server has stored the names of the files, so that no file without a record can
    /// appear.
    fn wait_for_publish(&self, made: &EngineEvent) -> Result<(), Failure> {
        send(&self.stream.0, made).map_err(|_| Failure::cancelled())?;
        loop {
            match self.commands.recv() {
                Ok(EngineCommand::Publish) => return Ok(()),
                Ok(EngineCommand::Previews(_)) => {}
                Ok(EngineCommand::Cancel | EngineCommand::Make(_)) | Err(_) => return Err(Failure::cancelled()),
            }
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}
