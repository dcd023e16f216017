//! The [`Watch`] of the engine process: sends progress and previews over the socket.

use std::cell::Cell;
use std::io;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ltx2_media::small_jpeg;
use ltx2_types::{Progress, RgbImage, Watch};

use crate::EngineEvent;

/// Longest side of previews, pixels.
const PREVIEW_SIDE: u32 = 256;
/// Minimum gap between previews as a multiple of their cost (at most 0.5 % overhead).
const PREVIEW_GAP: u32 = 200;

/// Flags that the server sets for the current job.
#[derive(Debug, Default)]
pub(crate) struct JobSignals {
    cancel: AtomicBool,
    previews: AtomicBool,
}

impl JobSignals {
    /// Clears both flags for a new job.
    pub(crate) fn reset(&self) {
        self.cancel.store(false, Ordering::Relaxed);
        self.previews.store(false, Ordering::Relaxed);
    }

    /// Cancels the current job.
    pub(crate) fn cancel(&self) {
        self.cancel.store(true, Ordering::Relaxed);
    }

    /// Turns previews on or off.
    pub(crate) fn set_previews(&self, wanted: bool) {
        self.previews.store(wanted, Ordering::Relaxed);
    }
}

/// Reports a job to the server.
pub(crate) struct JobWatch<'a> {
    stream: &'a UnixStream,
    signals: &'a JobSignals,
    /// Earliest start of the next preview.
    next_preview: Cell<Instant>,
    /// Start of the current preview.
    preview_started: Cell<Instant>,
    /// Whether a preview was made: the first one includes loading, so its cost is not representative.
    is_warm: Cell<bool>,
}

impl<'a> JobWatch<'a> {
    pub(crate) fn new(stream: &'a UnixStream, signals: &'a JobSignals) -> Self {
        let now = Cell::new(Instant::now());
        Self { stream, signals, next_preview: now.clone(), preview_started: now, is_warm: Cell::new(false) }
    }
}

/// Sends one message.
pub(crate) fn send(mut stream: &UnixStream, event: &EngineEvent) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    stream.write_all(&line)
}

impl Watch for JobWatch<'_> {
    fn progress(&self, progress: Progress) {
        // Without a server the job is pointless.
        if send(self.stream, &EngineEvent::Progress(progress)).is_err() {
            self.signals.cancel();
        }
    }

    fn is_cancelled(&self) -> bool {
        self.signals.cancel.load(Ordering::Relaxed)
    }

    fn wants_preview(&self) -> bool {
        let now = Instant::now();
        let is_wanted = self.signals.previews.load(Ordering::Relaxed) && now >= self.next_preview.get();
        if is_wanted {
            self.preview_started.set(now);
        }
        is_wanted
    }

    /// Sends `image` as a JPEG. An error does not fail the job.
    fn preview(&self, image: RgbImage) {
        match small_jpeg(image, PREVIEW_SIDE) {
            Ok(jpeg) => drop(send(self.stream, &EngineEvent::Preview(BASE64_STANDARD.encode(jpeg)))),
            Err(error) => tracing::warn!(%error, "cannot encode preview"),
        }
        if self.is_warm.replace(true) {
            self.next_preview.set(Instant::now() + self.preview_started.get().elapsed() * PREVIEW_GAP);
        }
    }
}
