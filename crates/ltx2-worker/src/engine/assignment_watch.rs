//! The engine's end of the talk about what it makes.

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

use super::Note;

/// Longest side of previews, pixels.
const SIDE: u32 = 256;
/// A preview is followed by this many times the time that it took without one, so that watching slows nothing down that
/// anybody would notice.
const REST: u32 = 200;

/// What the server said about the assignment since it came.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    cancel: AtomicBool,
    previews: AtomicBool,
}

impl Wishes {
    pub(super) fn reset(&self) {
        self.cancel.store(false, Ordering::Relaxed);
        self.previews.store(false, Ordering::Relaxed);
    }

    pub(super) fn cancel(&self) {
        self.cancel.store(true, Ordering::Relaxed);
    }

    pub(super) fn previews(&self, wanted: bool) {
        self.previews.store(wanted, Ordering::Relaxed);
    }
}

/// Tells the server how far the engine is.
pub(super) struct AssignmentWatch<'a> {
    stream: &'a UnixStream,
    wishes: &'a Wishes,
    /// When the next preview may be begun.
    preview_at: Cell<Instant>,
    /// When the last one was.
    preview_begun: Cell<Instant>,
    /// Whether what previews take is loaded: the first one's time says little of the next one's.
    is_warm: Cell<bool>,
}

impl<'a> AssignmentWatch<'a> {
    pub(super) fn new(stream: &'a UnixStream, wishes: &'a Wishes) -> Self {
        let now = Cell::new(Instant::now());
        Self { stream, wishes, preview_at: now.clone(), preview_begun: now, is_warm: Cell::new(false) }
    }
}

/// Sends one line.
pub(super) fn tell(mut stream: &UnixStream, note: &Note) -> io::Result<()> {
    let mut line = serde_json::to_vec(note)?;
    line.push(b'\n');
    stream.write_all(&line)
}

impl Watch for AssignmentWatch<'_> {
    fn progress(&self, progress: Progress) {
        // Without a server the next question is answered with a cancellation.
        if tell(self.stream, &Note::Progress(progress)).is_err() {
            self.wishes.cancel();
        }
    }

    fn is_cancelled(&self) -> bool {
        self.wishes.cancel.load(Ordering::Relaxed)
    }

    fn wants_preview(&self) -> bool {
        let now = Instant::now();
        let is_wanted = self.wishes.previews.load(Ordering::Relaxed) && now >= self.preview_at.get();
        if is_wanted {
            self.preview_begun.set(now);
        }
        is_wanted
    }

    /// The video goes on without one that cannot be made.
    fn preview(&self, picture: RgbImage) {
        match small_jpeg(picture, SIDE) {
            Ok(jpeg) => drop(tell(self.stream, &Note::Preview(BASE64_STANDARD.encode(jpeg)))),
            Err(error) => tracing::warn!(%error, "a preview is no picture: {error}"),
        }
        if self.is_warm.replace(true) {
            self.preview_at.set(Instant::now() + self.preview_begun.get().elapsed() * REST);
        }
    }
}
