//! Model ids of Scenario's LTX-2 family, with the fields that each of them takes.

use serde_json::{Value, json};

use crate::body::parameters::{Parameter, ParameterKind};

/// A model id: a kind of task with its fields and defaults. All ids are served by the model set of this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Model {
    /// Id in the URL.
    pub(super) id: &'static str,
    /// Name for people.
    name: &'static str,
    /// Kind of task.
    pub(super) kind: ModelKind,
    /// Variant, which sets the fields and the pipeline.
    pub(super) variant: Variant,
}

/// Kind of task of a model id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ModelKind {
    /// Video from text and images.
    Generate,
    /// Video between keyframes.
    Keyframes,
    /// Further frames of a video.
    Extend,
    /// A window of a video, generated again.
    Retake,
    /// Video from another video.
    VideoToVideo,
    /// Video for given audio.
    AudioToVideo,
}

/// Variant of a model id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variant {
    /// Open weights with all fields.
    Open,
    /// Open weights, distilled: without steps, guidance and negative prompt.
    OpenFast,
    /// Open weights with the second-order sampler.
    OpenHq,
    /// Hosted, with fixed resolutions and durations.
    Hosted,
    /// Hosted with short durations.
    HostedPro,
}

/// All model ids.
pub(super) const MODELS: &[Model] = {
    use ModelKind::{AudioToVideo, Extend, Generate, Keyframes, Retake, VideoToVideo};
    use Variant::{Hosted, HostedPro, Open, OpenFast, OpenHq};
    const fn model(id: &'static str, name: &'static str, kind: ModelKind, variant: Variant) -> Model {
        Model { id, name, kind, variant }
    }
    &[
        model("model_ltx-2-19b", "LTX-2 19B", Generate, Open),
        model("model_ltx-2-19b-fast", "LTX-2 19B Fast", Generate, OpenFast),
        model("model_ltx-2-19b-keyframes-to-video", "LTX-2 19B Keyframes to Video", Keyframes, Open),
        model("model_ltx-2-19b-extend-video", "LTX-2 19B Extend Video", Extend, Open),
        model("model_ltx-2-19b-video-to-video", "LTX-2 19B Video to Video", VideoToVideo, Open),
        model("model_ltx-2-fast", "LTX-2 Fast", Generate, Hosted),
        model("model_ltx-2-pro", "LTX-2 Pro", Generate, HostedPro),
        model("model_ltx-2-retake", "LTX-2 Retake", Retake, Hosted),
        model("model_ltx-2-3-fast", "LTX-2.3 Fast", Generate, Hosted),
        model("model_ltx-2-3-pro", "LTX-2.3 Pro", Generate, HostedPro),
        model("model_ltx-2-3-pro-extend-video", "LTX-2.3 Pro Extend Video", Extend, HostedPro),
        model("model_ltx-2-3-pro-retake", "LTX-2.3 Pro Retake", Retake, HostedPro),
        model("model_ltx-2-3-pro-audio-to-video", "LTX-2.3 Pro Audio to Video", AudioToVideo, HostedPro),
        model("model_ltx-2-3-22b", "LTX-2.3 22B", Generate, Open),
        model("model_ltx-2-3-22b-fast", "LTX-2.3 22B Fast", Generate, OpenFast),
        model("model_ltx-2-3-22b-hq", "LTX-2.3 22B HQ", Generate, OpenHq),
        model("model_ltx-2-3-22b-extend-video", "LTX-2.3 22B Extend Video", Extend, Open),
        model("model_ltx-2-3-22b-keyframes-to-video", "LTX-2.3 22B Keyframes to Video", Keyframes, Open),
        model("model_ltx-2-3-22b-video-to-video", "LTX-2.3 22B Video to Video", VideoToVideo, Open),
        model("model_ltx-2-3-22b-audio-to-video", "LTX-2.3 22B Audio to Video", AudioToVideo, Open),
        model("model_ltx-2-3-22b-retake", "LTX-2.3 22B Retake", Retake, Open),
    ]
};

const RATIOS: &[&str] = &["auto", "16:9", "9:16", "4:3", "3:4", "1:1", "21:9"];
const RESOLUTIONS: &[&str] = &["720p", "1080p", "1440p", "2160p"];
const SOURCE_RESOLUTIONS: &[&str] = &["auto", "720p", "1080p", "1440p", "2160p"];
const CAMERA: &[&str] = &["none", "static", "dolly_in", "dolly_out", "dolly_left", "dolly_right", "jib_up", "jib_down"];
const HOSTED_CAMERA: &[&str] =
    &["none", "static", "dolly_in", "dolly_out", "dolly_left", "dolly_right", "jib_up", "jib_down", "focus_shift"];

impl Model {
    /// Returns the model with `id`.
    pub(super) fn find(id: &str) -> Option<&'static Self> {
        MODELS.iter().find(|model| model.id == id)
    }

    /// Whether the id is of LTX-2.3.
    fn is_2_3(&self) -> bool {
        self.id.starts_with("model_ltx-2-3-")
    }

    fn is_hosted(&self) -> bool {
        matches!(self.variant, Variant::Hosted | Variant::HostedPro)
    }

    /// Returns the fields of a request.
    pub(super) fn parameters(&self) -> Vec<Parameter> {
        use ParameterKind::{Boolean, Integer, TextUpTo};
        let mut all =
            vec![Parameter::new("prompt", TextUpTo(5000), "Description of the video and its audio.").required()];
        all.extend(self.media());
        all.extend(self.length());
        if matches!(self.variant, Variant::Open | Variant::OpenHq) {
            let steps = if self.variant == Variant::OpenHq {
                15
            } else if self.is_2_3() {
                30
            } else {
                40
            };
            all.extend([
                Parameter::new("negativePrompt", ParameterKind::Text, "Text to steer away from."),
                Parameter::new("numInferenceSteps", Integer(1, 100), "Denoising steps.").or(steps),
                Parameter::new("guidanceScale", ParameterKind::Number(1.0, 20.0), "Classifier-free guidance.").or(3),
            ]);
        }
        all.extend(self.camera());
        let has_audio = matches!(self.id, "model_ltx-2-fast" | "model_ltx-2-pro");
        all.push(Parameter::new("generateAudio", Boolean, "Whether the video has audio.").or(!has_audio));
        if !self.is_hosted() {
            let enhance =
                Parameter::new("enhancePrompt", Boolean, "Whether the text encoder expands the prompt first.");
            all.push(enhance.or(self.is_2_3()));
        }
        all.push(Parameter::new("seed", Integer(0, i64::MAX), "Seed of the noise; omitted or null draws one."));
        all
    }

    fn media(&self) -> Vec<Parameter> {
        use ParameterKind::{Choice, Media, Number};
        let strength = |name, description| Parameter::new(name, Number(0.0, 1.0), description).or(1);
        let image = |name, description| Parameter::new(name, Media("image"), description);
        let video =
            || Parameter::new("video", Media("video"), "Video to work on: asset id, URL or data URL.").required();
        match (self.kind, self.is_hosted()) {
            (ModelKind::Generate, true) if self.is_2_3() => {
                vec![image("startImage", "First frame."), image("endImage", "Last frame; needs startImage.")]
            }
            (ModelKind::Generate, true) => vec![image("image", "First frame.")],
            (ModelKind::Generate, false) if self.is_2_3() => vec![
                image("image", "First frame."),
                strength("imageStrength", "Strength of the first frame."),
                image("lastFrameImage", "Last frame."),
                strength("lastFrameImageStrength", "Strength of the last frame."),
            ],
            (ModelKind::Generate, false) => {
                vec![image("image", "First frame."), strength("imageStrength", "Strength of the first frame.")]
            }
            (ModelKind::Keyframes, _) => vec![keyframes()],
            (ModelKind::Extend, true) => vec![
                video(),
                Parameter::new("extendMode", Choice(&["start", "end"]), "End of the video to extend.").or("end"),
            ],
            (ModelKind::Extend, false) => vec![
                video(),
                strength("videoStrength", "Strength of the video."),
                strength("audioStrength", "Strength of the audio of the video."),
            ],
            (ModelKind::Retake, _) => {
                let modes: &[&str] = &["replace_audio", "replace_video", "replace_audio_and_video"];
                let mode = if self.is_2_3() { "retakeMode" } else { "mode" };
                vec![
                    video(),
                    Parameter::new(mode, Choice(modes), "Modalities to generate again.").or("replace_audio_and_video"),
                    Parameter::new("startTime", Number(0.0, 3600.0), "Start of the window, seconds.").or(0),
                ]
            }
            (ModelKind::VideoToVideo, _) => vec![
                video(),
                Parameter::new("videoStrength", Number(0.0, 1.0), "How much of the video is kept.").or(0.3),
                Parameter::new("audioSource", Choice(&["original", "none"]), "Audio of the result.").or("original"),
            ],
            (ModelKind::AudioToVideo, _) => vec![
                Parameter::new("audio", Media("audio"), "Audio of the video: asset id, URL or data URL.").required(),
                image("image", "First frame."),
                strength("imageStrength", "Strength of the first frame."),
            ],
        }
    }

    fn length(&self) -> Vec<Parameter> {
        use ParameterKind::{Choice, Integer, Number, NumberChoice};
        let size = || {
            vec![
                Parameter::new("width", Integer(64, 4096), "Width in pixels, with height; rounded to 64."),
                Parameter::new("height", Integer(64, 4096), "Height in pixels, with width; rounded to 64."),
            ]
        };
        let hosted: &[f64] = match self.variant {
            Variant::Hosted => &[6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0],
            _ => &[6.0, 8.0, 10.0],
        };
        let fps = Parameter::new("fps", Number(1.0, 60.0), "Frames per second.");
        let mut all = match (self.kind, self.is_hosted()) {
            (ModelKind::Generate, true) => vec![
                Parameter::new("resolution", Choice(&["1080p", "2k", "4k"]), "Resolution.").or("1080p"),
                Parameter::new("aspectRatio", Choice(&["16:9", "9:16"]), "Aspect ratio.").or("16:9"),
                Parameter::new("duration", NumberChoice(hosted), "Duration, seconds.").or(6),
                Parameter::new("fps", NumberChoice(&[24.0, 25.0, 48.0, 50.0]), "Frames per second.").or(25),
            ],
            (ModelKind::Generate | ModelKind::Keyframes, false) | (ModelKind::Keyframes, true) => vec![
                Parameter::new("duration", Number(3.0, 20.0), "Duration, seconds.").or(6),
                Parameter::new("resolution", Choice(RESOLUTIONS), "Resolution, unless width and height are given.")
                    .or("1080p"),
                Parameter::new("aspectRatio", Choice(RATIOS), "Aspect ratio; auto is that of the first image.")
                    .or("auto"),
                fps.or(if self.is_2_3() { 24 } else { 25 }),
            ],
            (ModelKind::Extend, true) => {
                vec![Parameter::new("duration", NumberChoice(hosted), "Seconds to add.").or(6)]
            }
            (ModelKind::Extend, false) => vec![
                Parameter::new("extendDuration", Number(1.0, 20.0), "Seconds to add.").or(4),
                Parameter::new("contextDuration", Number(0.1, 3600.0), "Seconds of the video to follow from."),
                Parameter::new("resolution", Choice(SOURCE_RESOLUTIONS), "Resolution; auto is that of the video.")
                    .or("auto"),
                Parameter::new("aspectRatio", Choice(RATIOS), "Aspect ratio; auto is that of the video.").or("auto"),
                fps,
            ],
            (ModelKind::Retake, _) => {
                vec![Parameter::new("duration", Number(2.0, 16.0), "Length of the window, seconds.").or(2)]
            }
            (ModelKind::VideoToVideo, _) => vec![
                Parameter::new("resolution", Choice(SOURCE_RESOLUTIONS), "Resolution; auto is that of the video.")
                    .or("auto"),
                Parameter::new("aspectRatio", Choice(RATIOS), "Aspect ratio; auto is that of the video.").or("auto"),
            ],
            (ModelKind::AudioToVideo, _) => vec![
                Parameter::new("resolution", Choice(RESOLUTIONS), "Resolution, unless width and height are given.")
                    .or("1080p"),
                Parameter::new("aspectRatio", Choice(RATIOS), "Aspect ratio; auto is that of the image.").or("auto"),
                fps.or(25),
            ],
        };
        if !self.is_hosted() && self.kind != ModelKind::Retake {
            all.extend(size());
        }
        all
    }

    fn camera(&self) -> Vec<Parameter> {
        let motions = if self.is_hosted() { HOSTED_CAMERA } else { CAMERA };
        let motion = Parameter::new("cameraMotion", ParameterKind::Choice(motions), "Camera motion, by a LoRA.");
        let strength =
            Parameter::new("cameraMotionStrength", ParameterKind::Number(0.0, 2.0), "Strength of the motion.");
        match (self.kind, self.is_hosted()) {
            (ModelKind::Retake | ModelKind::VideoToVideo | ModelKind::AudioToVideo, _) => Vec::new(),
            (_, true) => vec![motion.or("none")],
            (_, false) => vec![motion.or("none"), strength.or(1)],
        }
    }

    fn capabilities(&self) -> Vec<&'static str> {
        match self.kind {
            ModelKind::Generate => vec!["txt2video", "img2video"],
            ModelKind::Keyframes => vec!["img2video"],
            ModelKind::Extend | ModelKind::Retake | ModelKind::VideoToVideo => vec!["video2video"],
            ModelKind::AudioToVideo => vec!["audio2video"],
        }
    }
}

fn keyframes() -> Parameter {
    let number = |name, most, description| Parameter::new(name, ParameterKind::Number(0.0, most), description);
    let items = vec![
        Parameter::new("image", ParameterKind::Media("image"), "Asset id, URL or data URL.").required(),
        number("time", 3600.0, "Time, seconds. Excludes frame; without both, keyframes are spread evenly."),
        Parameter::new("frame", ParameterKind::Integer(0, 1_000_000), "Index of the frame. Excludes time."),
        number("strength", 1.0, "Strength.").or(1),
    ];
    Parameter::new("keyframes", ParameterKind::List(items), "At least two images at given times.").required()
}

/// Returns Scenario's description of all models.
pub(crate) fn models_body() -> Vec<Value> {
    MODELS.iter().map(body).collect()
}

/// Returns Scenario's description of the model `id`.
pub(crate) fn model_body(id: &str) -> Option<Value> {
    Model::find(id).map(body)
}

/// Date of models in responses; the SDK requires one.
const DATE: &str = "2026-01-01T00:00:00.000Z";

fn body(model: &Model) -> Value {
    let inputs: Vec<Value> = model.parameters().iter().map(input).collect();
    json!({
        "id": model.id, "name": model.name, "capabilities": model.capabilities(), "inputs": inputs,
        "collectionIds": [], "createdAt": DATE, "updatedAt": DATE, "custom": false, "exampleAssetIds": [],
        "privacy": "public", "source": "other", "status": "trained", "tags": [], "trainingImagesNumber": 0,
        "type": "custom",
    })
}

/// Returns Scenario's description of a field.
fn input(parameter: &Parameter) -> Value {
    let mut body = json!({ "name": parameter.name, "label": parameter.name, "description": parameter.description });
    let mut set = |name: &str, value: Value| {
        body[name] = value;
    };
    match &parameter.kind {
        ParameterKind::Text => set("type", "string".into()),
        ParameterKind::TextUpTo(most) => {
            set("type", "string".into());
            set("maxLength", (*most).into());
        }
        ParameterKind::Number(low, high) => {
            set("type", "number".into());
            set("min", (*low).into());
            set("max", (*high).into());
        }
        ParameterKind::Integer(low, high) => {
            set("type", "number".into());
            set("min", (*low).into());
            set("max", (*high).into());
            set("step", 1.into());
        }
        ParameterKind::Boolean => set("type", "boolean".into()),
        ParameterKind::Choice(choices) => {
            set("type", "string".into());
            set("allowedValues", json!(choices));
        }
        ParameterKind::NumberChoice(choices) => {
            set("type", "number".into());
            set("allowedValues", json!(choices));
        }
        ParameterKind::Media(kind) => {
            set("type", "file".into());
            set("kind", (*kind).into());
        }
        ParameterKind::List(items) => {
            set("type", "inputs_array".into());
            set("inputs", items.iter().map(input).collect());
        }
    }
    if parameter.name == "prompt" {
        set("prompt", true.into());
    }
    if !parameter.default.is_null() {
        set("default", parameter.default.clone());
    }
    if parameter.is_required {
        set("required", json!({ "always": true }));
    }
    body
}
