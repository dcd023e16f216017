//! Inputs of a task: references in the request, and files for the engine.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{AssetId, TaskId};

/// Reference to the bytes of an input.
///
/// Serialized as one string: `asset:ID`, `task:ID`, or the name of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum InputRef {
    /// A file that came with the request: its name in the store, or its path on the command line.
    Upload(String),
    /// A stored asset, which several tasks may use.
    Asset(AssetId),
    /// The video of an earlier task.
    Result(TaskId),
}

impl From<String> for InputRef {
    fn from(text: String) -> Self {
        if let Some(id) = text.strip_prefix("asset:").and_then(AssetId::parse) {
            return Self::Asset(id);
        }
        match text.strip_prefix("task:").and_then(TaskId::parse) {
            Some(id) => Self::Result(id),
            None => Self::Upload(text),
        }
    }
}

impl From<InputRef> for String {
    fn from(input: InputRef) -> Self {
        input.to_string()
    }
}

impl fmt::Display for InputRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upload(name) => f.write_str(name),
            Self::Asset(id) => write!(f, "asset:{id}"),
            Self::Result(id) => write!(f, "task:{id}"),
        }
    }
}

/// Position of an input in [`crate::Task::inputs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InputId(pub u32);

impl fmt::Display for InputId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Media type of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::IntoStaticStr, strum::EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum InputKind {
    /// A still image.
    Image,
    /// A video, with or without audio.
    Video,
    /// Audio.
    Audio,
}

impl InputKind {
    /// Returns the name in messages and in the database.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// An input of a task with its position and media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskInput<'a> {
    /// Position among the task's inputs.
    pub id: InputId,
    /// Media type.
    pub kind: InputKind,
    /// Reference to the bytes.
    pub source: &'a InputRef,
}

/// An input as a local file, for the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Position among the task's inputs.
    pub id: InputId,
    /// Media type.
    pub kind: InputKind,
    /// Path of the file.
    pub path: PathBuf,
}

/// An image that conditions a frame of the video.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageInput {
    /// Reference to the bytes.
    #[serde(rename = "file")]
    pub source: InputRef,
    /// Index of the conditioned frame.
    pub frame: u32,
    /// Conditioning strength: 1 keeps the image, 0 ignores it.
    pub strength: f64,
    /// CRF of the H.264 pass that gives a still the look of a video frame (33 as in training); 0 skips the pass.
    pub crf: u32,
}

impl ImageInput {
    /// Returns an input for the first frame with strength 1 and the CRF of training.
    pub fn first_frame(source: InputRef) -> Self {
        Self { source, frame: 0, strength: 1.0, crf: 33 }
    }
}

/// Part of a video, in seconds from its start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TimeWindow {
    /// Start, seconds.
    pub start: f64,
    /// End, seconds.
    pub end: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_parsed_from_their_text() {
        let (asset, task) = (AssetId::from_u128(1), TaskId::from_u128(2));
        for input in [InputRef::Upload("input_1".into()), InputRef::Asset(asset), InputRef::Result(task)] {
            assert_eq!(InputRef::from(input.to_string()), input);
        }
    }

    /// Requests that earlier versions stored have the file's name alone.
    #[test]
    fn an_image_of_an_earlier_version_is_an_upload() {
        let stored = r#"{"file":"input_0a","frame":0,"strength":1.0,"crf":33}"#;
        let image: ImageInput = serde_json::from_str(stored).unwrap();
        assert_eq!(image, ImageInput::first_frame(InputRef::Upload("input_0a".into())));
        assert_eq!(serde_json::to_string(&image).unwrap(), stored);
    }
}
