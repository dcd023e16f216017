//! Use cases, independent of the dialect: submit, wait, watch, cancel and list tasks.

mod assets;
mod cancel;
mod draft;
mod inputs;
mod list;
mod progress;
mod reference;
mod size;
mod source;
mod submit;
mod wait;
mod watch;

pub(crate) use cancel::Removed;
pub(crate) use draft::{Draft, DraftImage, DraftMedia, DraftTask, Identity, ImagePosition, Length, Terms, problem};
pub(crate) use inputs::{ImageSource, LoadedImage, decode_base64};
pub(crate) use list::{DEFAULT_PAGE, MAX_PAGE};
pub(crate) use progress::{eta_seconds, fraction, now};
pub(crate) use reference::{Reference, StoredId, StoredMedia};
pub(crate) use size::{AspectRatio, SizeRequest, rounded};
pub(crate) use source::{LoadedSource, MediaSource};
pub(crate) use submit::{SubmitError, SubmitRequest, submission_key};
pub(crate) use watch::{Update, Watch, Watcher};
