//! What server and engine tell each other, a line of JSON each.

use std::path::PathBuf;

use ltx2_types::{Device, Failure, ImageLimits, Progress, Report, ValidRequest};
use serde::{Deserialize, Serialize};

/// From the server.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Make a video. Comes when there is no other to make; ended by [`Note::Ended`].
    Make(Box<Assignment>),
    /// Give the one that is made up.
    Cancel,
    /// Whether someone would look at previews of it; nobody does at first.
    Previews(bool),
    /// Give the result its name; the answer to [`Note::Made`].
    Publish,
}

/// One video to make.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Assignment {
    /// What to make.
    pub(crate) request: ValidRequest,
    /// Files of the pictures of `request.task.images()`, in that order.
    pub(crate) images: Vec<PathBuf>,
    /// The largest pictures that are decoded.
    pub(crate) limits: ImageLimits,
    /// The MP4's name.
    pub(crate) video: PathBuf,
    /// The name of its first frame as a JPEG.
    pub(crate) thumbnail: PathBuf,
}

/// From the engine.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Note {
    /// It can work, on this.
    Ready(Device),
    /// It cannot, and leaves.
    Unready(Failure),
    /// How far it is.
    Progress(Progress),
    /// A small picture of what is being made: a JPEG in base64.
    Preview(String),
    /// The video is whole, and waits to be published under its name.
    Made(Report),
    /// The assignment is over: the video has its name, or there is a failure and no video.
    Ended {
        /// Why there is none.
        failure: Option<Failure>,
        /// How the engine is now.
        state: EngineState,
    },
}

/// How an engine is between assignments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EngineState {
    /// It holds no model.
    Empty,
    /// It holds a model.
    Loaded,
    /// It has to be started afresh.
    Broken,
}
