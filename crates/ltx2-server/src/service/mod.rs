//! Use cases, independent of the dialect: submit, wait, watch, cancel and list tasks.

mod cancel;
mod inputs;
mod list;
mod progress;
mod source;
mod submit;
mod wait;
mod watch;

pub(crate) use cancel::Removed;
pub(crate) use inputs::{ImageSource, LoadedImage};
pub(crate) use list::{DEFAULT_PAGE, MAX_PAGE};
pub(crate) use progress::{eta_seconds, fraction, now};
pub(crate) use source::{LoadedSource, MediaSource};
pub(crate) use submit::{SubmitError, SubmitRequest, submission_key};
pub(crate) use watch::{Update, Watch, Watcher};
