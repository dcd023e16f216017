//! From a request as a dialect read it to a submitted task: loads the media, resolves size and length, validates, plans
//! and queues. Reports all problems at once, under the names of the dialect's fields.

use axum::http::HeaderMap;
use ltx2_store::{SubmissionContent, SubmissionKey, Submitted, Upload};
use ltx2_types::{
    ExtendSide, ExtendTask, Field, FieldError, FrameRate, GenerationRequest, ImageInput, InputRef, RetakePart, Rule,
    SourceInfo, Task, TimeWindow,
};
use serde_json::Value;

use super::{
    ImageSource, LoadedImage, LoadedSource, MediaSource, Reference, SizeRequest, SubmitError, SubmitRequest,
    submission_key,
};
use crate::body::Fields;
use crate::caller::Caller;
use crate::error::{ApiError, FieldProblem, Location, ProblemKind, shortened};
use crate::state::Service;

/// Time for which a client library repeats a submission by itself.
const REPETITION_WINDOW: std::time::Duration = std::time::Duration::from_secs(900);

/// A request as a dialect read it.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Kind of task with references to its media.
    pub(crate) task: DraftTask,
    /// The other fields; its task and source are replaced.
    pub(crate) request: GenerationRequest,
    /// Size, if `request` has none.
    pub(crate) size: SizeRequest,
    /// Length, if `request` has none.
    pub(crate) length: Option<Length>,
}

/// Kind of task with references to its media.
#[derive(Debug)]
pub(crate) enum DraftTask {
    /// From text and images.
    Generate { images: Vec<DraftImage> },
    /// Between keyframes.
    Keyframes { images: Vec<DraftImage> },
    /// Further frames of a video.
    Extend { video: DraftMedia, side: ExtendSide, context: Option<f64>, video_strength: f64, audio_strength: f64 },
    /// A window of a video, generated again.
    Retake { video: DraftMedia, window: TimeWindow, part: RetakePart },
    /// For given audio.
    AudioToVideo { audio: DraftMedia, images: Vec<DraftImage> },
    /// From another video.
    VideoToVideo { video: DraftMedia, strength: f64 },
}

/// A conditioning image.
#[derive(Debug)]
pub(crate) struct DraftImage {
    /// Field that names it.
    pub(crate) field: &'static str,
    pub(crate) source: Reference<ImageSource>,
    pub(crate) position: ImagePosition,
    pub(crate) strength: f64,
}

/// Position of a conditioning image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ImagePosition {
    /// Index of a frame.
    Frame(i64),
    /// Time, seconds.
    Time(f64),
    /// Share of the way from the first to the last frame, 0 to 1.
    Share(f64),
}

/// A video or audio.
#[derive(Debug)]
pub(crate) struct DraftMedia {
    /// Field that names it.
    pub(crate) field: &'static str,
    pub(crate) source: Reference<MediaSource>,
}

/// Length of the result, or of the new part of an extension.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Length {
    /// Seconds, under the name of the field.
    Seconds(&'static str, f64),
}

/// Terms of a submission.
pub(crate) struct Terms<'a> {
    /// Name under which tasks of the dialect are stored.
    pub(crate) dialect: &'static str,
    /// The client.
    pub(crate) caller: &'a Caller,
    /// By which a repeated submission is recognized.
    pub(crate) identity: Identity,
    /// Returns the dialect's name of a field; `None` if it has none.
    pub(crate) name_of: fn(Field, &Fields) -> Option<&'static str>,
    /// Priority; higher runs first.
    pub(crate) priority: i32,
    /// Field and URL of the receiver of the result.
    pub(crate) webhook: Option<(&'static str, String)>,
}

/// By which a repeated submission is recognized.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    key: Option<SubmissionKey>,
    content: Option<SubmissionContent>,
}

impl Identity {
    /// Returns the identity of the request to `route` with the body `fields`, which must be as sent. Its content is
    /// compared if the client library says in `x-stainless-retry-count` that it repeats a request.
    ///
    /// # Errors
    /// The idempotency key is invalid.
    pub(crate) fn of(headers: &HeaderMap, route: &str, fields: &Fields) -> Result<Self, ApiError> {
        let fingerprint = format!("{route} {}", fields.fingerprint());
        if let Some(key) = headers.get("idempotency-key") {
            return Ok(Self { key: Some(submission_key(key.to_str().ok(), || fingerprint)?), content: None });
        }
        let repeats = headers.get("x-stainless-retry-count").is_some_and(|count| count != "0");
        let content = SubmissionContent { fingerprint, repeats_within: repeats.then_some(REPETITION_WINDOW) };
        Ok(Self { key: None, content: Some(content) })
    }
}

/// Media of a draft, loaded.
#[derive(Default)]
struct LoadedMedia {
    uploads: Vec<Upload>,
    /// References of the images in order.
    images: Vec<InputRef>,
    /// Size of the first image.
    image_size: Option<(u32, u32)>,
    source: Option<(InputRef, SourceInfo)>,
}

impl Service {
    /// Submits `draft`. `fields` holds the problems that were found while it was read.
    ///
    /// # Errors
    /// Every problem of the request, or the reason why it cannot be queued.
    pub(crate) async fn submit_draft(
        &self,
        draft: Draft,
        mut fields: Fields,
        terms: Terms<'_>,
    ) -> Result<Submitted, ApiError> {
        let media = self.load_draft(&draft.task, &mut fields).await?;
        let Terms { dialect, caller, identity, name_of, priority, webhook } = terms;
        let webhook = webhook.and_then(|(field, url)| match self.webhook(&url, &caller.urls.base) {
            Ok(webhook) => Some(webhook),
            Err(reason) => {
                let message = format!("{field} is {}, but {reason}", shortened(url.clone().into()));
                fields.push(FieldProblem::field(ProblemKind::WebhookRefused, field, message, url.into()));
                None
            }
        });
        let uploads = media.uploads.clone();
        let request = self.complete(draft, media, &mut fields);
        let Some(request) = request else { return Err(fields.into_error()) };
        let request = match self.validate(request) {
            Ok(request) if fields.is_valid() => request,
            Ok(_) => return Err(fields.into_error()),
            Err(errors) => return Err(with_errors(fields, &errors, name_of)),
        };
        let Identity { key, content } = identity;
        let submit = SubmitRequest {
            request,
            inputs: uploads,
            priority,
            key,
            content,
            webhook,
            dialect,
            owner: caller.principal.clone(),
        };
        self.submit(submit).await.map_err(|error| match error {
            SubmitError::Field(error) => problem(&error, &fields, name_of(error.field, &fields)).into(),
            SubmitError::Api(error) => error,
        })
    }

    async fn load_draft(&self, task: &DraftTask, fields: &mut Fields) -> Result<LoadedMedia, ApiError> {
        let mut media = LoadedMedia::default();
        for image in task.images() {
            match self.load_image(image.source.clone()).await? {
                LoadedImage::Valid { input, upload, size } => {
                    media.images.push(input);
                    media.uploads.extend(upload);
                    media.image_size = media.image_size.or(Some(size));
                }
                LoadedImage::Invalid(kind, reason) => reject(fields, kind, image.field, &reason),
            }
        }
        if let Some(source) = task.source() {
            match self.load_media(source.source.clone()).await? {
                LoadedSource::Valid { input, upload, info } => {
                    media.source = Some((input, info));
                    media.uploads.extend(upload);
                }
                LoadedSource::Invalid(kind, reason) => reject(fields, kind, source.field, &reason),
            }
        }
        Ok(media)
    }

    /// Returns the request of `draft`; `None` if media are missing, which `fields` then reports.
    fn complete(&self, draft: Draft, media: LoadedMedia, fields: &mut Fields) -> Option<GenerationRequest> {
        let Draft { task, mut request, size, length } = draft;
        let video = media.source.as_ref().and_then(|(_, info)| info.video);
        let input_size = video.map(|video| (video.width, video.height)).or(media.image_size);
        if let Some((width, height)) = size.resolve(input_size) {
            request.width.get_or_insert(width);
            request.height.get_or_insert(height);
        }
        let rate = video.map(|video| video.frame_rate).or(request.frame_rate.and_then(FrameRate::new));
        let rate = rate.unwrap_or(self.limits.defaults.frame_rate).as_f64();
        if let Some(Length::Seconds(field, seconds)) = length {
            let frames = (seconds * rate).round();
            let most = f64::from(self.limits.max_frames);
            if !(1.0..=most).contains(&frames) {
                let rule = format!("it must be at least one frame and at most {:.2} seconds", most / rate);
                fields.reject(ProblemKind::OutOfRange, field, &rule);
            } else {
                request.num_frames.get_or_insert(frames as i64);
            }
        }
        let num_frames = request.num_frames.unwrap_or(self.limits.defaults.num_frames.into());
        let images = images(task.images(), &media.images, Timeline { rate, num_frames }, fields);
        let source = media.source.as_ref().map(|(input, _)| input.clone());
        request.task = task.into_task(images?, source)?;
        request.source = media.source.map(|(_, info)| info);
        Some(request)
    }
}

impl DraftTask {
    fn images(&self) -> &[DraftImage] {
        match self {
            Self::Generate { images } | Self::Keyframes { images } | Self::AudioToVideo { images, .. } => images,
            Self::Extend { .. } | Self::Retake { .. } | Self::VideoToVideo { .. } => &[],
        }
    }

    fn source(&self) -> Option<&DraftMedia> {
        match self {
            Self::Extend { video, .. } | Self::Retake { video, .. } | Self::VideoToVideo { video, .. } => Some(video),
            Self::AudioToVideo { audio, .. } => Some(audio),
            Self::Generate { .. } | Self::Keyframes { .. } => None,
        }
    }

    /// Returns the task; `None` if it needs a source and there is none.
    fn into_task(self, images: Vec<ImageInput>, source: Option<InputRef>) -> Option<Task> {
        Some(match self {
            Self::Generate { .. } if images.is_empty() => Task::TextToVideo,
            Self::Generate { .. } => Task::ImageToVideo { images },
            Self::Keyframes { .. } => Task::Keyframes { images },
            Self::Extend { side, context, video_strength, audio_strength, .. } => {
                Task::Extend(ExtendTask { video: source?, side, context, video_strength, audio_strength })
            }
            Self::Retake { window, part, .. } => Task::Retake { video: source?, window, part },
            Self::AudioToVideo { .. } => Task::AudioToVideo { audio: source?, images },
            Self::VideoToVideo { strength, .. } => Task::VideoToVideo { video: source?, strength },
        })
    }
}

/// Length and rate of the requested video.
#[derive(Clone, Copy)]
struct Timeline {
    rate: f64,
    num_frames: i64,
}

impl Timeline {
    /// Returns the frame at `position`.
    ///
    /// # Errors
    /// The rule that the position breaks.
    fn frame(self, position: ImagePosition) -> Result<u32, String> {
        let last = self.num_frames.saturating_sub(1).max(0) as f64;
        let (frame, at) = match position {
            ImagePosition::Frame(frame) => (frame as f64, format!("frame {frame}")),
            ImagePosition::Time(time) => ((time * self.rate).round(), format!("time {time} s")),
            ImagePosition::Share(share) => ((share * last).round(), format!("share {share}")),
        };
        if (0.0..=last).contains(&frame) {
            return Ok(frame as u32);
        }
        let seconds = last / self.rate;
        Err(format!("{at} is outside the video, which has frames 0 to {last} (times 0 to {seconds:.2} s)"))
    }
}

/// Returns the inputs of `images`, whose files are `inputs`; `None` if one is invalid, which `fields` then reports.
fn images(
    images: &[DraftImage],
    inputs: &[InputRef],
    timeline: Timeline,
    fields: &mut Fields,
) -> Option<Vec<ImageInput>> {
    let mut result = Vec::new();
    for (i, image) in images.iter().enumerate() {
        match (timeline.frame(image.position), inputs.get(i)) {
            (Ok(frame), Some(input)) => {
                result.push(ImageInput { frame, strength: image.strength, ..ImageInput::first_frame(input.clone()) });
            }
            (Err(rule), _) => reject(fields, ProblemKind::KeyframeInvalid, image.field, &rule),
            (Ok(_), None) => {}
        }
    }
    (result.len() == images.len()).then_some(result)
}

/// Reports a problem whose value is not repeated in the error.
fn reject(fields: &mut Fields, kind: ProblemKind, field: &str, reason: &str) {
    fields.push(FieldProblem::field(kind, field, format!("{field}: {reason}"), Value::Null));
}

fn with_errors(
    mut fields: Fields,
    errors: &[FieldError],
    name_of: fn(Field, &Fields) -> Option<&'static str>,
) -> ApiError {
    for error in errors {
        let problem = problem(error, &fields, name_of(error.field, &fields));
        // One field of a dialect may set two of the request, which then both break the rule.
        let is_known = matches!(&problem.location, Location::Field(name) if fields.has_problem(name));
        if !is_known {
            fields.push(problem);
        }
    }
    fields.into_error()
}

/// Returns the problem for an error of validation or planning in the field that a dialect calls `name`.
pub(crate) fn problem(error: &FieldError, fields: &Fields, name: Option<&'static str>) -> FieldProblem {
    let kind = match error.rule {
        Rule::Between(..) => ProblemKind::OutOfRange,
        Rule::AtLeast(_) => ProblemKind::GreaterThanEqual,
        Rule::AtMost(_) => ProblemKind::LessThanEqual,
        Rule::MultipleOf { .. } => ProblemKind::MultipleOf,
        Rule::Finite => ProblemKind::FiniteNumber,
        Rule::AtMostCharacters(_) => ProblemKind::StringTooLong,
        Rule::BelowFrames(_) => ProblemKind::LessThan,
        Rule::Supported(_) => ProblemKind::NotPossible,
    };
    match name {
        Some(field) => {
            let name = fields.sent_name(field);
            let message = format!("{name} is {}, but {}", error.value, error.rule);
            FieldProblem::field(kind, name, message, fields.sent(field))
        }
        None => FieldProblem::body(kind, error.to_string(), Value::Null),
    }
}
