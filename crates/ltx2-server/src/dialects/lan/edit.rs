//! Requests that work on a video or audio: from their fields to a task.

use axum::body::Bytes;
use ltx2_store::Upload;
use ltx2_types::{
    DEFAULT_STRENGTH, ExtendSide, ExtendTask, ImageInput, InputRef, RetakePart, SourceInfo, Task, TimeWindow,
};
use serde_json::Value;

use super::wire::SourceRequest;
use crate::body::Fields;
use crate::error::{ApiError, FieldProblem, ProblemKind};
use crate::service::{LoadedSource, MediaSource};
use crate::state::Service;

/// Kind of request of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// From text; images are optional.
    Text,
    /// From images.
    Images,
    /// On a source.
    Edit(EditKind),
}

/// Kind of request that works on a video or audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EditKind {
    Extend,
    Retake,
    AudioToVideo,
    VideoToVideo,
}

impl EditKind {
    /// Returns the field of the source.
    fn source(self) -> &'static str {
        if self == Self::AudioToVideo { "audio" } else { "video" }
    }

    /// Returns the fields of [`SourceRequest`] that the route takes.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Extend => &["video", "direction", "duration", "context", "video_strength", "audio_strength"],
            Self::Retake => &["video", "start_time", "end_time", "part"],
            Self::AudioToVideo => &["audio"],
            Self::VideoToVideo => &["video", "strength"],
        }
    }
}

/// A loaded source with the fields that go with it.
pub(super) struct Edit {
    kind: EditKind,
    request: SourceRequest,
    input: InputRef,
    /// The file, if it came with the request.
    pub(super) upload: Option<Upload>,
    /// Streams of the source.
    pub(super) info: SourceInfo,
}

/// Removes the fields of the source from `fields` and loads it; `None` if one is invalid, whose problem is then in
/// `fields`.
pub(super) async fn read(service: &Service, kind: EditKind, fields: &mut Fields) -> Result<Option<Edit>, ApiError> {
    if kind != EditKind::AudioToVideo {
        for name in ["image", "keyframes"] {
            if fields.has(name) {
                fields.reject(ProblemKind::UnknownField, name, "images do not condition this task");
            }
        }
    }
    let name = kind.source();
    let (request, mut files) = fields.read_part::<SourceRequest>(kind.fields());
    let Some(request) = request else { return Ok(None) };
    if kind == EditKind::Retake {
        for (name, time) in [("start_time", request.start_time), ("end_time", request.end_time)] {
            if time.is_none() && !fields.has_problem(name) {
                fields.push(FieldProblem::missing(name));
            }
        }
    }
    let Some(source) = media_source(name, &request, files.remove(name), fields) else { return Ok(None) };
    match service.load_source(source).await? {
        LoadedSource::Valid { input, upload, info } => Ok(Some(Edit { kind, request, input, upload, info })),
        LoadedSource::Invalid(kind, reason) => {
            fields.push(FieldProblem::field(kind, name, format!("{name}: {reason}"), Value::Null));
            Ok(None)
        }
    }
}

fn media_source(
    name: &'static str,
    request: &SourceRequest,
    file: Option<Bytes>,
    fields: &mut Fields,
) -> Option<MediaSource> {
    let text = request.video.as_deref().or(request.audio.as_deref());
    match (file, text.map(MediaSource::parse)) {
        (Some(bytes), _) => return Some(MediaSource::Bytes(bytes)),
        (None, Some(Ok(source))) => return Some(source),
        (None, Some(Err(rule))) => {
            fields.push(FieldProblem::field(ProblemKind::MediaInvalid, name, format!("{name} {rule}"), Value::Null));
        }
        (None, None) if fields.has_problem(name) => {}
        (None, None) => fields.push(FieldProblem::missing(name)),
    }
    None
}

impl Edit {
    /// Returns the task. `images` condition a video for audio.
    pub(super) fn task(&self, images: Vec<ImageInput>) -> Task {
        let request = &self.request;
        let source = self.input.clone();
        match self.kind {
            EditKind::Extend => Task::Extend(ExtendTask {
                video: source,
                side: request.direction.unwrap_or(ExtendSide::End),
                context: request.context,
                video_strength: request.video_strength.unwrap_or(1.0),
                audio_strength: request.audio_strength.unwrap_or(1.0),
            }),
            EditKind::Retake => Task::Retake {
                video: source,
                // Missing times are reported already.
                window: TimeWindow {
                    start: request.start_time.unwrap_or_default(),
                    end: request.end_time.unwrap_or_default(),
                },
                part: request.part.unwrap_or(RetakePart::Both),
            },
            EditKind::AudioToVideo => Task::AudioToVideo { audio: source, images },
            EditKind::VideoToVideo => {
                Task::VideoToVideo { video: source, strength: request.strength.unwrap_or(DEFAULT_STRENGTH) }
            }
        }
    }

    /// Returns the number of new frames of an extension whose duration is given.
    pub(super) fn num_frames(&self, fields: &mut Fields) -> Option<i64> {
        let seconds = self.request.duration?;
        if fields.has("num_frames") {
            fields.reject_duplicate("duration", "num_frames", seconds.into());
        }
        self.info.frames_in(seconds)
    }
}
