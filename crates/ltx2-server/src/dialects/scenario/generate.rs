//! From the fields of a model to a draft.

use ltx2_types::{
    Camera, ExtendSide, Field, GenerationRequest, GuidanceRequest, OutputSpec, Pipeline, RetakePart, Sampler, Task,
    TimeWindow,
};

use super::models::{Model, ModelKind, Variant};
use super::wire::{GenerateRequest, Keyframe};
use crate::body::{Fields, Item, parameters};
use crate::error::ProblemKind;
use crate::service::{
    AspectRatio, Draft, DraftImage, DraftMedia, DraftTask, ImagePosition, Length, Reference, SizeRequest, rounded,
};
use crate::state::ModelInfo;

/// Reads the request for `model`. Problems are in `fields`; `None` if a required field has none that can be read.
pub(super) fn draft(model: &Model, served: &ModelInfo, fields: &mut Fields) -> Option<Draft> {
    parameters::check(fields, &model.parameters());
    let request = fields.read::<GenerateRequest>()?;
    let task = task(model, &request, fields);
    let size = size(&request, fields);
    Some(Draft {
        task: task?,
        size,
        length: length(model, &request),
        request: generation_request(model, served, request, fields),
    })
}

fn generation_request(
    model: &Model,
    served: &ModelInfo,
    request: GenerateRequest,
    fields: &mut Fields,
) -> GenerationRequest {
    let audio = request.generate_audio.unwrap_or(true) && request.audio_source.as_deref() != Some("none");
    let guidance = GuidanceRequest { cfg: request.guidance_scale, ..GuidanceRequest::default() };
    let mut notes = Vec::new();
    let pipeline = match model.variant {
        Variant::OpenFast | Variant::Hosted => served.prefer(Pipeline::Distilled, &mut notes),
        Variant::OpenHq => served.prefer(Pipeline::Hq, &mut notes),
        Variant::Open | Variant::HostedPro => None,
    };
    if let Some(note) = served.other_model(model.id) {
        notes.push(note);
    }
    if served.is_distilled && model.variant == Variant::Open {
        notes.push("the model of this server is distilled: its steps are fixed and it uses no guidance".into());
    }
    GenerationRequest {
        enhance_prompt: request.enhance_prompt.unwrap_or(false),
        negative_prompt: request.negative_prompt,
        sampler: (pipeline == Some(Pipeline::Hq)).then_some(Sampler::Res2s),
        pipeline,
        camera: camera(request.camera_motion.as_deref(), request.camera_motion_strength, fields),
        frame_rate: request.fps,
        num_inference_steps: request.num_inference_steps,
        seed: Some(request.seed.unwrap_or(-1)),
        video_guidance: guidance,
        output: OutputSpec { audio, ..OutputSpec::default() },
        notes,
        ..GenerationRequest::new(Task::TextToVideo, request.prompt)
    }
}

fn camera(motion: Option<&str>, strength: Option<f64>, fields: &mut Fields) -> Option<Camera> {
    let motion = motion.filter(|motion| *motion != "none")?;
    match motion.parse() {
        Ok(motion) => Some(Camera { motion, strength: strength.unwrap_or(1.0) }),
        // The hosted model has a motion for which no LoRA is published.
        Err(_) => {
            fields.reject(
                ProblemKind::NotPossible,
                "cameraMotion",
                "there is no LoRA for it; describe it in the prompt",
            );
            None
        }
    }
}

fn size(request: &GenerateRequest, fields: &mut Fields) -> SizeRequest {
    match (request.width, request.height) {
        (Some(width), Some(height)) => return SizeRequest::Exact(rounded(width), rounded(height)),
        (None, None) => {}
        (Some(_), None) => fields.reject(ProblemKind::Missing, "width", "height must be given with it"),
        (None, Some(_)) => fields.reject(ProblemKind::Missing, "height", "width must be given with it"),
    }
    let aspect = request.aspect_ratio.as_deref().unwrap_or("auto").parse().unwrap_or(AspectRatio::Input);
    let short = match request.resolution.as_deref() {
        Some("720p") => 720,
        Some("1080p") => 1080,
        Some("1440p" | "2k") => 1440,
        Some("2160p" | "4k") => 2160,
        _ => return SizeRequest::Auto,
    };
    SizeRequest::ShortSide(short, aspect)
}

fn length(model: &Model, request: &GenerateRequest) -> Option<Length> {
    match model.kind {
        ModelKind::Generate | ModelKind::Keyframes => request.duration.map(|seconds| ("duration", seconds)),
        ModelKind::Extend if request.extend_duration.is_some() => {
            request.extend_duration.map(|seconds| ("extendDuration", seconds))
        }
        ModelKind::Extend => request.duration.map(|seconds| ("duration", seconds)),
        ModelKind::Retake | ModelKind::VideoToVideo | ModelKind::AudioToVideo => None,
    }
    .map(|(field, seconds)| Length::Seconds(field, seconds))
}

fn task(model: &Model, request: &GenerateRequest, fields: &mut Fields) -> Option<DraftTask> {
    Some(match model.kind {
        ModelKind::Generate => DraftTask::Generate { images: first_and_last(request, fields) },
        ModelKind::Keyframes => DraftTask::Keyframes { images: keyframes(request.keyframes.as_deref(), fields)? },
        ModelKind::Extend => DraftTask::Extend {
            video: media("video", request.video.as_deref(), fields)?,
            side: if request.extend_mode.as_deref() == Some("start") { ExtendSide::Start } else { ExtendSide::End },
            context: request.context_duration,
            video_strength: request.video_strength.unwrap_or(1.0),
            audio_strength: request.audio_strength.unwrap_or(1.0),
        },
        ModelKind::Retake => {
            let start = request.start_time.unwrap_or(0.0);
            DraftTask::Retake {
                video: media("video", request.video.as_deref(), fields)?,
                window: TimeWindow { start, end: start + request.duration.unwrap_or_default() },
                part: match request.retake_mode.as_deref().or(request.mode.as_deref()) {
                    Some("replace_audio") => RetakePart::Audio,
                    Some("replace_video") => RetakePart::Video,
                    _ => RetakePart::Both,
                },
            }
        }
        ModelKind::VideoToVideo => DraftTask::VideoToVideo {
            video: media("video", request.video.as_deref(), fields)?,
            // Scenario states how much of the video is kept, the pipeline how much noise is added.
            strength: 1.0 - request.video_strength.unwrap_or(0.3),
        },
        ModelKind::AudioToVideo => DraftTask::AudioToVideo {
            audio: media("audio", request.audio.as_deref(), fields)?,
            images: first_and_last(request, fields),
        },
    })
}

/// Returns the video or audio `name`; a missing one is reported already.
fn media(name: &'static str, value: Option<&str>, fields: &mut Fields) -> Option<DraftMedia> {
    match Reference::media(value?) {
        Ok(source) => Some(DraftMedia { field: name, source }),
        Err(rule) => {
            fields.reject(ProblemKind::MediaInvalid, name, rule);
            None
        }
    }
}

fn first_and_last(request: &GenerateRequest, fields: &mut Fields) -> Vec<DraftImage> {
    let (first, last) = (ImagePosition::Frame(0), ImagePosition::Share(1.0));
    let candidates = [
        ("image", &request.image, first, request.image_strength),
        ("startImage", &request.start_image, first, None),
        ("endImage", &request.end_image, last, None),
        ("lastFrameImage", &request.last_frame_image, last, request.last_frame_image_strength),
    ];
    if request.end_image.is_some() && request.start_image.is_none() {
        fields.reject(ProblemKind::Missing, "endImage", "startImage must be given with it");
    }
    let mut images = Vec::new();
    for (field, text, position, strength) in candidates {
        let Some(text) = text else { continue };
        match Reference::image(text) {
            Ok(source) => images.push(DraftImage { field, source, position, strength: strength.unwrap_or(1.0) }),
            Err(rule) => fields.reject(ProblemKind::ImageInvalid, field, rule),
        }
    }
    images
}

/// Minimum number of keyframes.
const MIN_KEYFRAMES: usize = 2;

fn keyframes(items: Option<&[Item<Keyframe>]>, fields: &mut Fields) -> Option<Vec<DraftImage>> {
    const FIELD: &str = "keyframes";
    let items = items?;
    if items.len() < MIN_KEYFRAMES {
        let rule = format!("it has {} images, but at least {MIN_KEYFRAMES} are needed", items.len());
        fields.reject(ProblemKind::KeyframeInvalid, FIELD, &rule);
        return None;
    }
    let mut images = Vec::new();
    for (i, Item(item)) in items.iter().enumerate() {
        let spread = i as f64 / (items.len() - 1) as f64;
        match item.as_ref().map_err(Clone::clone).and_then(|keyframe| keyframe_image(keyframe, spread)) {
            Ok((source, position, strength)) => {
                images.push(DraftImage { field: FIELD, source, position, strength });
            }
            Err(rule) => fields.reject(ProblemKind::KeyframeInvalid, FIELD, &format!("in element {i}, {rule}")),
        }
    }
    (images.len() == items.len()).then_some(images)
}

fn keyframe_image(
    keyframe: &Keyframe,
    spread: f64,
) -> Result<(Reference<crate::service::ImageSource>, ImagePosition, f64), String> {
    let position = match (keyframe.time, keyframe.frame) {
        (Some(time), None) => ImagePosition::Time(time),
        (None, Some(frame)) => ImagePosition::Frame(frame),
        (None, None) => ImagePosition::Share(spread),
        (Some(_), Some(_)) => return Err("time and frame are both given; send one of them".into()),
    };
    Ok((Reference::image(&keyframe.image)?, position, keyframe.strength.unwrap_or(1.0)))
}

/// Returns Scenario's name of `field`; `None` if it has none.
pub(super) fn name_of(field: Field, fields: &Fields) -> Option<&'static str> {
    let first_sent = |names: [&'static str; 2]| if fields.has(names[0]) { names[0] } else { names[1] };
    Some(match field {
        Field::Prompt => "prompt",
        Field::NegativePrompt => "negativePrompt",
        Field::Width => first_sent(["width", "resolution"]),
        Field::Height => first_sent(["height", "resolution"]),
        Field::NumFrames => first_sent(["extendDuration", "duration"]),
        Field::FrameRate => "fps",
        Field::NumInferenceSteps => "numInferenceSteps",
        Field::Seed => "seed",
        Field::Camera => "cameraMotion",
        Field::CameraStrength => "cameraMotionStrength",
        Field::CfgScaleVideo => "guidanceScale",
        Field::Image | Field::ImageFrame => first_sent(["keyframes", "image"]),
        Field::ImageStrength => first_sent(["keyframes", "imageStrength"]),
        Field::Video => "video",
        Field::Audio => "audio",
        Field::Context => "contextDuration",
        Field::VideoStrength | Field::Strength => "videoStrength",
        Field::AudioStrength => "audioStrength",
        Field::Window => "startTime",
        _ => return None,
    })
}
