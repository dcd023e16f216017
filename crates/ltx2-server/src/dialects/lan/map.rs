//! Mapping between the wire types of the native API and the types of the service layer.

use ltx2_store::{TaskId, TaskRecord, TaskStatus};
use ltx2_types::{
    Field, FieldError, GenerationRequest, GuidanceRequest, ImageInput, InputRef, LoraInput, LoraSource, OutputRole,
    OutputSpec, Progress, Task, ValidRequest, VideoFormat,
};

use super::wire::{
    Detail, ErrorBody, Keyframe, Lora, LoraListBody, Problem, Steps, TaskBody, TaskInfo, TaskProgress, Timings,
    UnusableLora, VideoRequest,
};
use crate::body::{Fields, Item};
use crate::caller::Urls;
use crate::error::{ApiError, FieldProblem, Location, ProblemKind};
use crate::service::{self, ImageSource, eta_seconds, fraction, now};
use crate::state::LoraList;

/// Maximum number of keyframes in a request.
const MAX_KEYFRAMES: usize = 32;
/// Maximum absolute priority.
const MAX_PRIORITY: i64 = 100;

/// An image of a request before it is loaded.
pub(super) struct ConditioningImage {
    /// Field that names it.
    pub(super) field: &'static str,
    pub(super) source: ImageSource,
    frame: u32,
    strength: f64,
}

/// Returns the images of `video`: the first frame, then the keyframes. Reports invalid ones in `fields`.
pub(super) fn images(video: &mut VideoRequest, fields: &mut Fields, defaults: &ValidRequest) -> Vec<ConditioningImage> {
    let mut images = Vec::new();
    let mut used = vec!["image".to_owned()];
    let strength = video.image_strength.unwrap_or(1.0);
    if let Some(source) = first_frame(video.image.as_deref(), fields) {
        images.push(ConditioningImage { field: "image", source, frame: 0, strength });
    }
    let keyframes = video.keyframes.take().unwrap_or_default();
    if keyframes.len() > MAX_KEYFRAMES {
        fields.reject(ProblemKind::TooLong, "keyframes", &format!("there may be at most {MAX_KEYFRAMES}"));
        return images;
    }
    let timeline = Timeline {
        frame_rate: video.frame_rate.unwrap_or(defaults.frame_rate.as_f64()),
        num_frames: video.num_frames.unwrap_or(defaults.num_frames.into()),
    };
    for (i, Item(item)) in keyframes.into_iter().enumerate() {
        used.extend(item.iter().map(|keyframe| keyframe.image.clone()));
        match item.and_then(|item| keyframe(&item, &timeline, fields)) {
            Ok(image) => images.push(image),
            Err(rule) => {
                fields.reject(ProblemKind::KeyframeInvalid, "keyframes", &format!("in element {i}, {rule}"));
            }
        }
    }
    if !fields.has_problem("keyframes") {
        fields.reject_unused_files(&used.iter().map(String::as_str).collect::<Vec<_>>());
    }
    images
}

fn first_frame(url: Option<&str>, fields: &mut Fields) -> Option<ImageSource> {
    match (fields.file("image").cloned(), url) {
        (Some(bytes), None) => Some(ImageSource::Bytes(bytes)),
        (None, Some(url)) => match ImageSource::parse(url) {
            Ok(source) => Some(source),
            Err(rule) => {
                fields.reject(ProblemKind::ImageInvalid, "image", rule);
                None
            }
        },
        (Some(_), Some(_)) => {
            fields.reject(ProblemKind::DuplicateField, "image", "there is also a file image; send one of them");
            None
        }
        (None, None) => None,
    }
}

/// Length of the requested video.
struct Timeline {
    frame_rate: f64,
    num_frames: i64,
}

impl Timeline {
    /// Returns the frame of a keyframe.
    ///
    /// # Errors
    /// The keyframe is outside the video, or it has not exactly one of time and frame.
    fn frame(&self, keyframe: &Keyframe) -> Result<u32, String> {
        let (frame, position) = match (keyframe.time, keyframe.frame) {
            (Some(time), None) => {
                let frame = (time * self.frame_rate).round();
                (frame, format!("time {time} s is frame {frame}"))
            }
            (None, Some(frame)) => (frame as f64, format!("frame is {frame}")),
            _ => return Err("there must be either a time, in seconds, or a frame".into()),
        };
        let last = self.num_frames.saturating_sub(1);
        // An invalid number of frames is reported by validation.
        if frame < 0.0 || !frame.is_finite() || (self.num_frames > 0 && frame > last as f64) {
            let seconds = last as f64 / self.frame_rate;
            return Err(format!("{position}, but the video has frames 0 to {last} (times 0 to {seconds:.2} s)"));
        }
        Ok(frame as u32)
    }
}

fn keyframe(keyframe: &Keyframe, timeline: &Timeline, fields: &Fields) -> Result<ConditioningImage, String> {
    let frame = timeline.frame(keyframe)?;
    let source = match fields.file(&keyframe.image) {
        Some(bytes) => ImageSource::Bytes(bytes.clone()),
        None => ImageSource::parse(&keyframe.image)?,
    };
    let strength = keyframe.strength.unwrap_or(1.0);
    Ok(ConditioningImage { field: "keyframes", source, frame, strength })
}

/// Returns the task for `images`, whose files are `inputs`. The first frame alone and with keyframes is
/// image-to-video; keyframes alone are a task of their own.
pub(super) fn task(images: &[ConditioningImage], inputs: Vec<InputRef>) -> Task {
    let inputs = image_inputs(images, inputs);
    match images.first() {
        None => Task::TextToVideo,
        Some(first) if first.field == "image" => Task::ImageToVideo { images: inputs },
        Some(_) => Task::Keyframes { images: inputs },
    }
}

/// Returns the inputs of conditioning images, whose files are `inputs`.
pub(super) fn image_inputs(images: &[ConditioningImage], inputs: Vec<InputRef>) -> Vec<ImageInput> {
    let input = |(image, source): (&ConditioningImage, InputRef)| ImageInput {
        frame: image.frame,
        strength: image.strength,
        ..ImageInput::first_frame(source)
    };
    images.iter().zip(inputs).map(input).collect()
}

/// Maps `video` without its images. Reports invalid elements in `fields`.
pub(super) fn generation_request(video: VideoRequest, task: Task, fields: &mut Fields) -> GenerationRequest {
    for name in ["cfg_scale_video", "cfg_scale_audio"] {
        if video.guidance_scale.is_some() && fields.has(name) {
            fields.reject_duplicate("guidance_scale", name, fields.sent("guidance_scale"));
        }
    }
    let guidance = |cfg: Option<f64>| GuidanceRequest {
        cfg: cfg.or(video.guidance_scale),
        stg: video.stg_scale_video,
        modality: video.modality_scale,
        rescale: None,
    };
    let output = output(&video);
    GenerationRequest {
        enhance_prompt: video.enhance_prompt.unwrap_or(false),
        negative_prompt: video.negative_prompt,
        pipeline: video.pipeline,
        sampler: video.sampler,
        loras: loras(video.loras.unwrap_or_default(), fields),
        camera: video.camera,
        width: video.width,
        height: video.height,
        num_frames: video.num_frames,
        frame_rate: video.frame_rate,
        num_inference_steps: video.num_inference_steps,
        seed: video.seed,
        video_guidance: guidance(video.cfg_scale_video),
        audio_guidance: guidance(video.cfg_scale_audio),
        output,
        ..GenerationRequest::new(task, video.prompt)
    }
}

/// Returns the format of the result, where omitted values have their defaults.
fn output(video: &VideoRequest) -> OutputSpec {
    let default = OutputSpec::new(video.format.unwrap_or(VideoFormat::Mp4));
    OutputSpec {
        quality: video.quality.unwrap_or(default.quality),
        audio: default.audio && video.generate_audio.unwrap_or(true),
        max_bytes: video.max_bytes,
        metadata: video.metadata.unwrap_or(default.metadata),
        ..default
    }
}

fn loras(items: Vec<Item<Lora>>, fields: &mut Fields) -> Vec<LoraInput> {
    let mut loras = Vec::new();
    for (i, Item(item)) in items.into_iter().enumerate() {
        match item {
            Ok(Lora { name, strength }) => {
                loras.push(LoraInput { source: LoraSource::Name(name), strength: strength.unwrap_or(1.0) });
            }
            Err(rule) => fields.reject(ProblemKind::LoraInvalid, "loras", &format!("in element {i}, {rule}")),
        }
    }
    loras
}

/// Checks the priority. Reports an invalid one in `fields`.
pub(super) fn priority(priority: Option<i64>, fields: &mut Fields) -> i32 {
    let priority = priority.unwrap_or(0);
    if (-MAX_PRIORITY..=MAX_PRIORITY).contains(&priority) {
        return priority as i32;
    }
    let rule = format!("it must be between -{MAX_PRIORITY} and {MAX_PRIORITY}");
    fields.reject(ProblemKind::OutOfRange, "priority", &rule);
    0
}

/// Returns the problem for an error of validation or planning.
pub(super) fn problem(error: &FieldError, fields: &Fields) -> FieldProblem {
    service::problem(error, fields, name_of(error.field, fields))
}

/// Returns the name of `field` in this API; `None` if it has none.
fn name_of(field: Field, fields: &Fields) -> Option<&'static str> {
    let first_sent = |first, second| if fields.has(first) { first } else { second };
    Some(match field {
        Field::CfgScaleVideo if fields.has("guidance_scale") => "guidance_scale",
        Field::CfgScaleAudio if fields.has("guidance_scale") => "guidance_scale",
        Field::ModalityScaleVideo | Field::ModalityScaleAudio => "modality_scale",
        Field::StgScaleVideo | Field::StgScaleAudio => "stg_scale_video",
        Field::CameraStrength => "camera",
        Field::Lora | Field::LoraStrength => "loras",
        Field::Image => first_sent("image", "keyframes"),
        Field::ImageStrength => first_sent("image_strength", "keyframes"),
        Field::ImageFrame => "keyframes",
        Field::Prompt
        | Field::NegativePrompt
        | Field::Pipeline
        | Field::Sampler
        | Field::Camera
        | Field::Width
        | Field::Height
        | Field::NumFrames
        | Field::FrameRate
        | Field::NumInferenceSteps
        | Field::Seed
        | Field::Format
        | Field::Quality
        | Field::MaxBytes
        | Field::Video
        | Field::Audio
        | Field::Context
        | Field::VideoStrength
        | Field::AudioStrength
        | Field::Strength
        | Field::CfgScaleVideo
        | Field::CfgScaleAudio => field.name(),
        Field::Window => "start_time",
        Field::ModelVersion | Field::RescaleVideo | Field::RescaleAudio | Field::ImageCrf => return None,
    })
}

/// Returns the body of an error response.
pub(crate) fn error_body(error: ApiError) -> ErrorBody {
    let detail = match error.problems.is_empty() {
        true => Detail::Message(error.message),
        false => Detail::Problems(error.problems.into_iter().map(problem_body).collect()),
    };
    ErrorBody { detail }
}

fn problem_body(problem: FieldProblem) -> Problem {
    let loc = match problem.location {
        Location::Body => vec!["body".into()],
        Location::Field(name) => vec!["body".into(), name],
        Location::Query(name) => vec!["query".into(), name.into()],
        Location::Header(name) => vec!["header".into(), name.into()],
    };
    Problem { kind: problem.kind.into(), loc, msg: problem.message, input: problem.value }
}

/// Returns the body for `record`.
pub(super) fn task_body(record: TaskRecord, urls: &Urls) -> TaskBody {
    let info = task_info(&record);
    match record.status {
        TaskStatus::Queued { .. } | TaskStatus::Running { .. } => TaskBody::Processing {
            progress: task_progress(&record),
            events_url: urls.signed(&format!("/v1/video/tasks/{}/events", record.id)),
            preview_url: urls.signed(&preview_path(&record.id)),
            info,
        },
        TaskStatus::Completed(completion) => {
            let url = |role| completion.output(role).map(|output| urls.open(&format!("/outputs/{}", output.key)));
            TaskBody::Completed {
                url: url(OutputRole::Video).unwrap_or_default(),
                thumbnail_url: url(OutputRole::Thumbnail),
                last_frame_url: url(OutputRole::LastFrame),
                note: completion.output(OutputRole::Video).and_then(|video| video.note.clone()),
                pipeline: completion.pipeline,
                enhanced_prompt: completion.enhanced_prompt,
                progress: 1.0,
                info,
            }
        }
        TaskStatus::Failed(failure) => TaskBody::Failed { error: failure.message, info: Some(info) },
    }
}

/// Returns the body for `list`.
pub(super) fn lora_list(list: &LoraList) -> LoraListBody {
    let unusable = |(file, reason): &(String, String)| UnusableLora { file: file.clone(), reason: reason.clone() };
    LoraListBody {
        loras: list.names.clone(),
        cameras: list.cameras.clone(),
        unusable: list.unusable.iter().map(unusable).collect(),
    }
}

/// Returns the path of the preview of the task `id`.
pub(super) fn preview_path(id: &TaskId) -> String {
    format!("/v1/video/tasks/{id}/preview")
}

/// Returns the progress of a task that has not ended.
pub(super) fn task_progress(record: &TaskRecord) -> TaskProgress {
    let eta_seconds = eta_seconds(record);
    match record.status {
        TaskStatus::Running { progress } => TaskProgress { eta_seconds, ..run_progress(progress, record.is_stopping) },
        TaskStatus::Queued { position } => TaskProgress { queue_position: Some(position), eta_seconds, ..queued() },
        TaskStatus::Completed(_) | TaskStatus::Failed(_) => run_progress(None, false),
    }
}

/// Returns the progress of a queued task whose position is unknown.
pub(super) fn queued() -> TaskProgress {
    TaskProgress { stage: "queued", ..run_progress(None, false) }
}

/// Returns the progress of a run.
pub(super) fn run_progress(progress: Option<Progress>, is_stopping: bool) -> TaskProgress {
    let stage = if is_stopping { "stopping" } else { progress.map_or("starting", |progress| progress.phase.name()) };
    TaskProgress {
        progress: progress.map_or(0.0, fraction),
        stage,
        steps: progress.map(|at| Steps { step: at.step, total_steps: at.total_steps }),
        queue_position: None,
        eta_seconds: None,
    }
}

fn task_info(record: &TaskRecord) -> TaskInfo {
    let seconds = |from: i64, to: i64| (to - from).max(0) as f64 / 1000.0;
    let end = record.finished_at.unwrap_or_else(now);
    TaskInfo {
        task_id: record.id.to_string(),
        seed: record.request.as_ref().map(|request| request.seed),
        priority: record.priority,
        created_at: record.created_at / 1000,
        started_at: record.started_at.map(|at| at / 1000),
        finished_at: record.finished_at.map(|at| at / 1000),
        timings: Timings {
            queued: seconds(record.created_at, record.started_at.unwrap_or(end)),
            running: record.started_at.map(|started_at| seconds(started_at, end)),
        },
    }
}
