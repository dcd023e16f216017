//! What is asked, before and after validation.

use serde::{Deserialize, Serialize};

use crate::{Camera, FrameRate};

/// The canonical ask, as a dialect or the command line understood it. What the caller left out is `None`; numbers are
/// wide enough to hold nonsense, so that validation can name it.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationRequest {
    /// The kind of ask with its inputs.
    pub task: Task,
    /// Text to be turned into picture and sound.
    pub prompt: String,
    /// Whether the prompt is first written out into the description of a shot.
    pub enhance_prompt: bool,
    /// Text to steer away from.
    pub negative_prompt: Option<String>,
    /// Which stages; `None` takes the best that the model has.
    pub pipeline: Option<Pipeline>,
    /// How steps are taken; `None` is the pipeline's own way.
    pub sampler: Option<Sampler>,
    /// Adapters for all stages.
    pub loras: Vec<LoraInput>,
    /// A camera motion, by the adapter that the model set has for it.
    pub camera: Option<Camera>,
    /// Pixels.
    pub width: Option<i64>,
    /// Pixels.
    pub height: Option<i64>,
    /// Pictures in the result, exactly.
    pub num_frames: Option<i64>,
    /// Frames per second.
    pub frame_rate: Option<f64>,
    /// Denoising steps.
    pub num_inference_steps: Option<i64>,
    /// Seed of the noise; -1 asks for a random one.
    pub seed: Option<i64>,
    /// Guidance of the picture.
    pub video_guidance: GuidanceRequest,
    /// Guidance of the sound.
    pub audio_guidance: GuidanceRequest,
}

impl GenerationRequest {
    /// An ask with every setting left to its default.
    pub fn new(task: Task, prompt: impl Into<String>) -> Self {
        Self {
            task,
            prompt: prompt.into(),
            enhance_prompt: false,
            negative_prompt: None,
            pipeline: None,
            sampler: None,
            loras: Vec::new(),
            camera: None,
            width: None,
            height: None,
            num_frames: None,
            frame_rate: None,
            num_inference_steps: None,
            seed: None,
            video_guidance: GuidanceRequest::default(),
            audio_guidance: GuidanceRequest::default(),
        }
    }
}

/// The kind of ask; each variant holds exactly its inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// From the prompt alone.
    TextToVideo,
    /// From the prompt and pictures that stand at given frames.
    ImageToVideo {
        /// The pictures.
        images: Vec<ImageInput>,
    },
    /// Between pictures that it passes through, the first frame's included.
    Keyframes {
        /// The pictures.
        images: Vec<ImageInput>,
    },
}

impl Task {
    /// The pictures that the task starts from.
    pub fn images(&self) -> &[ImageInput] {
        match self {
            Self::TextToVideo => &[],
            Self::ImageToVideo { images } | Self::Keyframes { images } => images,
        }
    }
}

/// Which stages a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pipeline {
    /// Full size at once, with guidance.
    OneStage,
    /// Half size with guidance, then full size with the distilled LoRA.
    TwoStage,
    /// Half size, then full size (or full size alone, without an upscaler), with a distilled model and no guidance.
    Distilled,
    /// As two-stage, with some of the distilled LoRA in both stages and the second-order sampler.
    Hq,
}

impl Pipeline {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::OneStage, Self::TwoStage, Self::Distilled, Self::Hq];

    /// Its name on the wire and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneStage => "one-stage",
            Self::TwoStage => "two-stage",
            Self::Distilled => "distilled",
            Self::Hq => "hq",
        }
    }
}

impl std::str::FromStr for Pipeline {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|pipeline| pipeline.name() == text);
        known.ok_or_else(|| {
            format!("pipeline is {text}, but it must be one of {}", Self::ALL.map(Self::name).join(", "))
        })
    }
}

/// How a run gets from one noise level to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampler {
    /// One prediction a step.
    Euler,
    /// Euler with each velocity corrected by how it changed since the step before.
    GradientEstimation,
    /// Two predictions a step, with fresh noise after each.
    #[serde(rename = "res-2s")]
    Res2s,
}

impl Sampler {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Euler, Self::GradientEstimation, Self::Res2s];

    /// Its name on the wire and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Euler => "euler",
            Self::GradientEstimation => "gradient-estimation",
            Self::Res2s => "res-2s",
        }
    }
}

impl std::str::FromStr for Sampler {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|sampler| sampler.name() == text);
        known
            .ok_or_else(|| format!("sampler is {text}, but it must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// An adapter to be added to the transformer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraInput {
    /// Which.
    pub source: LoraSource,
    /// 1 adds it as trained, 0 not at all.
    pub strength: f64,
}

/// Where an adapter is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoraSource {
    /// A file, by its path.
    File(String),
    /// A file of the model set, by its name without `.safetensors`.
    Name(String),
}

/// A picture that the video has to show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageInput {
    /// Where the bytes are: a name in the input store, or a path from the command line.
    pub file: String,
    /// The frame at which it stands.
    pub frame: u32,
    /// 1 holds the picture as it is, 0 ignores it.
    pub strength: f64,
    /// Quality of the H.264 pass that makes a still look like a video frame (33 as in training); 0 skips it.
    pub crf: u32,
}

impl ImageInput {
    /// `file` as the first frame, held, degraded as in training.
    pub fn first_frame(file: impl Into<String>) -> Self {
        Self { file: file.into(), frame: 0, strength: 1.0, crf: 33 }
    }
}

/// Guidance scales as asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct GuidanceRequest {
    /// Classifier-free guidance; 1 is off.
    pub cfg: Option<f64>,
    /// Spatio-temporal guidance; 0 is off.
    pub stg: Option<f64>,
    /// Guidance by the other modality; 1 is off.
    pub modality: Option<f64>,
    /// How far the guided prediction's spread is pulled back to the conditional one's; 0 is off.
    pub rescale: Option<f64>,
}

/// Guidance scales of one modality, fixed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Guidance {
    /// Classifier-free guidance; 1 is off.
    pub cfg: f64,
    /// Spatio-temporal guidance; 0 is off.
    pub stg: f64,
    /// Guidance by the other modality; 1 is off.
    pub modality: f64,
    /// How far the guided prediction's spread is pulled back to the conditional one's; 0 is off.
    pub rescale: f64,
}

/// A request in which nothing is left to decide: defaults filled in, the seed drawn, every limit checked.
/// Only [`crate::validate`] makes one from outside data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidRequest {
    /// The kind of ask with its inputs.
    pub task: Task,
    /// Text to be turned into picture and sound.
    pub prompt: String,
    /// Whether the prompt is first written out into the description of a shot.
    #[serde(default)]
    pub enhance_prompt: bool,
    /// Text to steer away from.
    pub negative_prompt: String,
    /// Which stages; `None` takes the best that the model has.
    #[serde(default)]
    pub pipeline: Option<Pipeline>,
    /// How steps are taken; `None` is the pipeline's own way.
    #[serde(default)]
    pub sampler: Option<Sampler>,
    /// Adapters for all stages.
    #[serde(default)]
    pub loras: Vec<LoraInput>,
    /// A camera motion, by the adapter that the model set has for it.
    #[serde(default)]
    pub camera: Option<Camera>,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Pictures in the result, exactly; the network works on the next 8k + 1.
    pub num_frames: u32,
    /// Frames per second.
    pub frame_rate: FrameRate,
    /// Denoising steps.
    pub num_inference_steps: u32,
    /// Seed of the noise.
    pub seed: u64,
    /// Guidance of the picture.
    pub video_guidance: Guidance,
    /// Guidance of the sound.
    pub audio_guidance: Guidance,
}
