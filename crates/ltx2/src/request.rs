//! Request options of the commands that generate or plan a video.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::bail;
use ltx2_pipeline::ModelSet;
use ltx2_types::{
    Camera, GenerationRequest, GuidanceRequest, ImageInput, InputRef, Limits, LoraInput, LoraSource, OutputSpec,
    Pipeline, Sampler, Task, ValidRequest, validate,
};

use crate::inputs;
use crate::models::limits_for;
use crate::source::SourceArguments;

#[derive(Debug, clap::Args)]
pub struct RequestArguments {
    /// Text that describes the video and its audio.
    #[arg(long)]
    prompt: String,
    /// Text to steer away from.
    #[arg(long)]
    negative_prompt: Option<String>,
    /// First frame (PNG, JPEG or WebP).
    #[arg(long, value_name = "FILE", conflicts_with = "keyframe")]
    image: Option<PathBuf>,
    /// Conditioning strength of the first frame, 0 to 1.
    #[arg(long, default_value_t = 1.0)]
    image_strength: f64,
    /// CRF of the H.264 pass that gives images the look of video frames; 0 skips the pass.
    #[arg(long, default_value_t = 33)]
    image_crf: u32,
    /// Keyframe at a time in seconds, or at a frame (16f), with a conditioning STRENGTH (default 1). Can be repeated.
    #[arg(long, value_name = "FILE@TIME[:STRENGTH]")]
    keyframe: Vec<Keyframe>,
    /// Let the text encoder first expand the prompt into a description of a shot.
    #[arg(long)]
    enhance_prompt: bool,
    /// Pipeline: one-stage, two-stage, distilled or hq [default: distilled or two-stage if the model set supports it].
    #[arg(long)]
    pipeline: Option<Pipeline>,
    /// Sampler: euler, gradient-estimation or res-2s [default: res-2s with hq, else euler].
    #[arg(long)]
    sampler: Option<Sampler>,
    /// Camera motion, by its LoRA: static, dolly_in, dolly_out, dolly_left, dolly_right, jib_up or jib_down.
    #[arg(long, value_name = "MOTION[:STRENGTH]")]
    camera: Option<Camera>,
    /// LoRA to merge with a STRENGTH (default 1). Can be repeated.
    #[arg(long, value_name = "FILE[:STRENGTH]")]
    lora: Vec<Lora>,
    /// Width in pixels, a multiple of 32 [default: the model set's, or 768].
    #[arg(long, allow_negative_numbers = true)]
    width: Option<i64>,
    /// Height in pixels, a multiple of 32 [default: the model set's, or 512].
    #[arg(long, allow_negative_numbers = true)]
    height: Option<i64>,
    /// Number of frames [default: the model set's, or 121].
    #[arg(long, alias = "num-frames", allow_negative_numbers = true)]
    frames: Option<i64>,
    /// Frames per second [default: the model set's, or 25].
    #[arg(long, alias = "frame-rate", allow_negative_numbers = true)]
    rate: Option<f64>,
    /// Denoising steps [default: the model set's, or 40 with LTX-2, 30 with LTX-2.3, 15 with hq].
    #[arg(long, allow_negative_numbers = true)]
    steps: Option<i64>,
    /// Seed of the noise; -1 draws a random one [default: 42].
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<i128>,
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    scales: Scales,
}

#[derive(Debug, clap::Args)]
struct Scales {
    /// Classifier-free guidance of the video; 1 is off [default: 3].
    #[arg(long, allow_negative_numbers = true)]
    cfg_video: Option<f64>,
    /// Classifier-free guidance of the audio; 1 is off [default: 7].
    #[arg(long, allow_negative_numbers = true)]
    cfg_audio: Option<f64>,
    /// Spatio-temporal guidance of the video; 0 is off [default: 1].
    #[arg(long, allow_negative_numbers = true)]
    stg_video: Option<f64>,
    /// Spatio-temporal guidance of the audio; 0 is off [default: 1].
    #[arg(long, allow_negative_numbers = true)]
    stg_audio: Option<f64>,
    /// Guidance of the video by the audio; 1 is off [default: 3].
    #[arg(long, allow_negative_numbers = true)]
    modality_video: Option<f64>,
    /// Guidance of the audio by the video; 1 is off [default: 3].
    #[arg(long, allow_negative_numbers = true)]
    modality_audio: Option<f64>,
    /// Rescaling of the guided video prediction's standard deviation, 0 (off) to 1 [default: 0.7].
    #[arg(long, allow_negative_numbers = true)]
    rescale_video: Option<f64>,
    /// Rescaling of the guided audio prediction's standard deviation, 0 (off) to 1 [default: 0.7].
    #[arg(long, allow_negative_numbers = true)]
    rescale_audio: Option<f64>,
}

impl RequestArguments {
    fn task(&self, limits: &Limits) -> anyhow::Result<Task> {
        let image = |file: &Path, frame, strength| ImageInput {
            source: InputRef::Upload(file.display().to_string()),
            frame,
            strength,
            crf: self.image_crf,
        };
        let rate = self.rate.unwrap_or_else(|| limits.defaults.frame_rate.as_f64());
        let first = self.image.iter().map(|file| image(file, 0, self.image_strength));
        let keyframes = self.keyframe.iter().map(|key| image(&key.file, key.at.frame(rate), key.strength));
        let images: Vec<ImageInput> = first.chain(keyframes).collect();
        match self.source.task(&images) {
            Some(Task::Extend(_) | Task::Retake { .. } | Task::VideoToVideo { .. }) if !images.is_empty() => {
                bail!("an image or keyframe cannot condition a task with a source video")
            }
            Some(task) => Ok(task),
            None if self.image.is_some() => Ok(Task::ImageToVideo { images }),
            None if images.is_empty() => Ok(Task::TextToVideo),
            None => Ok(Task::Keyframes { images }),
        }
    }

    fn request(&self, limits: &Limits) -> anyhow::Result<GenerationRequest> {
        let task = self.task(limits)?;
        let source = inputs::probe(&task)?;
        let s = &self.scales;
        let guidance = |cfg, stg, modality, rescale| GuidanceRequest { cfg, stg, modality, rescale };
        Ok(GenerationRequest {
            source,
            enhance_prompt: self.enhance_prompt,
            negative_prompt: self.negative_prompt.clone(),
            pipeline: self.pipeline,
            sampler: self.sampler,
            camera: self.camera,
            loras: self.lora.iter().map(|lora| lora.0.clone()).collect(),
            width: self.width,
            height: self.height,
            num_frames: self.source.extension_frames(source).or(self.frames),
            frame_rate: self.rate,
            num_inference_steps: self.steps,
            seed: self.seed,
            video_guidance: guidance(s.cfg_video, s.stg_video, s.modality_video, s.rescale_video),
            audio_guidance: guidance(s.cfg_audio, s.stg_audio, s.modality_audio, s.rescale_audio),
            ..GenerationRequest::new(task, self.prompt.clone())
        })
    }

    /// Returns the validated request for a result of format `output`.
    ///
    /// # Errors
    /// Every field that breaks a rule.
    pub fn valid(&self, models: &ModelSet, output: OutputSpec) -> anyhow::Result<ValidRequest> {
        let limits = limits_for(Limits::command_line(), models)?;
        let request = GenerationRequest { output, ..self.request(&limits)? };
        validate(request, &limits, random_seed).map_err(|errors| {
            anyhow::anyhow!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })
    }
}

/// Keyframe option `FILE@TIME[:STRENGTH]`.
#[derive(Debug, Clone)]
struct Keyframe {
    file: PathBuf,
    at: KeyframePosition,
    strength: f64,
}

#[derive(Debug, Clone, Copy)]
enum KeyframePosition {
    Seconds(f64),
    Frame(u32),
}

impl KeyframePosition {
    fn frame(self, rate: f64) -> u32 {
        match self {
            Self::Seconds(seconds) => (seconds * rate).round() as u32,
            Self::Frame(frame) => frame,
        }
    }
}

impl FromStr for Keyframe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error =
            || format!("keyframe is {text}, but it must be FILE@TIME or FILE@TIME:STRENGTH, such as end.png@2.5:0.8");
        let (file, position) = text.rsplit_once('@').ok_or_else(error)?;
        let (position, strength) = position.split_once(':').unwrap_or((position, "1"));
        let at = match position.strip_suffix('f') {
            Some(frame) => KeyframePosition::Frame(frame.parse().map_err(|_| error())?),
            None => KeyframePosition::Seconds(
                position.parse().ok().filter(|time: &f64| time.is_finite() && *time >= 0.0).ok_or_else(error)?,
            ),
        };
        Ok(Self { file: file.into(), at, strength: strength.parse().map_err(|_| error())? })
    }
}

/// LoRA option `FILE[:STRENGTH]`.
#[derive(Debug, Clone)]
struct Lora(LoraInput);

impl FromStr for Lora {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A colon may be part of the path: the suffix is a strength only if it is a number.
        let parsed = text.rsplit_once(':').and_then(|(file, strength)| Some((file, strength.parse().ok()?)));
        let (file, strength) = parsed.unwrap_or((text, 1.0));
        Ok(Self(LoraInput { source: LoraSource::File(file.into()), strength }))
    }
}

/// Returns a random seed below 2^53, which every JSON parser represents exactly.
fn random_seed() -> u64 {
    fastrand::u64(..1 << 53)
}
