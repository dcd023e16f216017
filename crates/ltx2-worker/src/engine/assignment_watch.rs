//! The engine's end of the talk about what it makes.

use std::io;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ltx2_media::small_jpeg;
use ltx2_types::{Progress, RgbImage, Watch};

use super::Note;

/// Longest side of previews, pixels.
const SIDE: u32 = 256;

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
    pub(super) stream: &'a UnixStream,
    pub(super) wishes: &'a Wishes,
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
        self.wishes.previews.load(Ordering::Relaxed)
    }

    /// The video goes on without one that cannot be made.
    fn preview(&self, picture: RgbImage) {
        match small_jpeg(picture, SIDE) {
            Ok(jpeg) => drop(tell(self.stream, &Note::Preview(BASE64_STANDARD.encode(jpeg)))),
            Err(error) => tracing::warn!(%error, "a preview is no picture: {error}"),
        }
    }
}
