//! The engine's side: takes assignments, one after the other, and makes their files.

use std::any::Any;
use std::io::{self, BufRead, BufReader};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use ltx2_media::{FileInputs, Mp4Writer, WithThumbnail};
use ltx2_types::{Failure, FailureCode, Generator, InputFile, Job};

use super::assignment_watch::{AssignmentWatch, Wishes, tell};
use super::{Assignment, EngineState, Note, Order};

/// Serves the server at the other end of `stream` with the generator that `open` makes. Returns when the server is gone
/// or the generator broke; `hung_up` is called as soon as the server is gone, in the midst of a task too.
pub fn host_engine<G: Generator>(
    stream: UnixStream,
    open: impl FnOnce() -> Result<G, Failure>,
    hung_up: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let stream = HangsUp(stream);
    let wishes = Arc::new(Wishes::default());
    let (orders, inbox) = mpsc::channel();
    let reader = BufReader::new(stream.0.try_clone()?);
    thread::Builder::new().name("ltx2-orders".into()).spawn({
        let wishes = wishes.clone();
        move || {
            read_orders(reader, &orders, &wishes);
            wishes.cancel();
            hung_up();
        }
    })?;
    let generator = match open() {
        Ok(generator) => generator,
        Err(failure) => return tell(&stream.0, &Note::Unready(failure)),
    };
    tell(&stream.0, &Note::Ready(generator.device()))?;
    Host { stream, inbox, wishes, generator }.serve()
}

/// Tells the server that the engine is gone, whichever way it goes.
struct HangsUp(UnixStream);

impl Drop for HangsUp {
    fn drop(&mut self) {
        // A server that is gone itself needs no word.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Reads until there is nothing more to come, or something comes that is no order.
fn read_orders(reader: BufReader<UnixStream>, orders: &Sender<Order>, wishes: &Wishes) {
    for line in reader.lines() {
        let order = line.and_then(|line| Ok(serde_json::from_str::<Order>(&line)?));
        let order = match order {
            Ok(order) => order,
            Err(error) => return tracing::error!(%error, "the engine cannot read its orders: {error}"),
        };
        match &order {
            Order::Make(_) => wishes.reset(),
            Order::Cancel => wishes.cancel(),
            Order::Previews(wanted) => wishes.previews(*wanted),
            Order::Publish => {}
        }
        // Nobody takes orders any more: the generator broke.
        if orders.send(order).is_err() {
            return;
        }
    }
}

struct Host<G> {
    stream: HangsUp,
    inbox: Receiver<Order>,
    wishes: Arc<Wishes>,
    generator: G,
}

impl<G: Generator> Host<G> {
    fn serve(mut self) -> io::Result<()> {
        while let Ok(order) = self.inbox.recv() {
            // The others are about an assignment that has ended meanwhile.
            let Order::Make(assignment) = order else { continue };
            let (failure, state) = match catch_unwind(AssertUnwindSafe(|| self.make(&assignment))) {
                Ok(Err(failure)) if failure.code.is_fatal() => (Some(failure), EngineState::Broken),
                Ok(outcome) => (outcome.err(), self.state()),
                Err(panic) => {
                    tracing::error!("the engine panicked: {}", panic_text(&*panic));
                    let reason = "the generation stopped by a mistake in the server; the server's log says more";
                    (Some(Failure::new(FailureCode::Internal, reason)), EngineState::Broken)
                }
            };
            tell(&self.stream.0, &Note::Ended { failure, state })?;
            if state == EngineState::Broken {
                break;
            }
        }
        Ok(())
    }

    fn state(&self) -> EngineState {
        if self.generator.is_loaded() { EngineState::Loaded } else { EngineState::Empty }
    }

    fn make(&mut self, assignment: &Assignment) -> Result<(), Failure> {
        let Assignment { request, limits, video, thumbnail, .. } = assignment;
        let inputs = request.task.inputs().into_iter().zip(&assignment.images);
        let files = inputs.map(|(input, path)| InputFile { id: input.id, kind: input.kind, path: path.clone() });
        let mut inputs = FileInputs::new(files.collect(), *limits);
        let mut writer = Mp4Writer::create(video)?;
        let mut output = WithThumbnail::new(&mut writer);
        let watch = AssignmentWatch::new(&self.stream.0, &self.wishes);
        let report = self.generator.generate(Job { request, inputs: &mut inputs }, &mut output, &watch)?;
        output.write(thumbnail)?;
        self.wait_to_publish(Note::Made(report))?;
        writer.finish()?;
        Ok(())
    }

    /// The server first writes down that the file is about to have its name.
    fn wait_to_publish(&self, made: Note) -> Result<(), Failure> {
        let cancelled = || Failure::new(FailureCode::Cancelled, "cancelled");
        tell(&self.stream.0, &made).map_err(|_| cancelled())?;
        loop {
            match self.inbox.recv() {
                Ok(Order::Publish) => return Ok(()),
                Ok(Order::Previews(_)) => {}
                Ok(Order::Cancel | Order::Make(_)) | Err(_) => return Err(cancelled()),
            }
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}
