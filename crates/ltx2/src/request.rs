//! Options that say what to make, for every command that makes or plans something.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use ltx2_pipeline::ModelSet;
use ltx2_types::{
    Camera, GenerationRequest, GuidanceRequest, ImageInput, InputRef, Limits, LoraInput, LoraSource, Pipeline, Sampler,
    Task, ValidRequest, validate,
};

use crate::models::limits_for;

#[derive(Debug, clap::Args)]
pub struct RequestArguments {
    /// Text to be turned into picture and sound.
    #[arg(long)]
    prompt: String,
    /// Text to steer away from.
    #[arg(long)]
    negative_prompt: Option<String>,
    /// Picture to start from (PNG, JPEG or WebP).
    #[arg(long, value_name = "FILE", conflicts_with = "keyframe")]
    image: Option<PathBuf>,
    /// How firmly the picture is held, 0 to 1.
    #[arg(long, default_value_t = 1.0)]
    image_strength: f64,
    /// Quality of the H.264 pass that makes pictures look like video frames; 0 skips it.
    #[arg(long, default_value_t = 33)]
    image_crf: u32,
    /// Picture that the video passes through at a time in seconds (or at a frame, as 16f), held by STRENGTH (1); can be
    /// given several times.
    #[arg(long, value_name = "FILE@TIME[:STRENGTH]")]
    keyframe: Vec<Keyframe>,
    /// Have the text encoder write the prompt out into the description of a shot first.
    #[arg(long)]
    enhance_prompt: bool,
    /// Stages: one-stage, two-stage, distilled or hq [default: distilled or two-stage if the model set is made for it].
    #[arg(long)]
    pipeline: Option<Pipeline>,
    /// How steps are taken: euler, gradient-estimation or res-2s [default: res-2s with hq, else euler].
    #[arg(long)]
    sampler: Option<Sampler>,
    /// Camera motion by its adapter: static, dolly_in, dolly_out, dolly_left, dolly_right, jib_up or jib_down.
    #[arg(long, value_name = "MOTION[:STRENGTH]")]
    camera: Option<Camera>,
    /// Adapter to add, by STRENGTH (1); can be given several times.
    #[arg(long, value_name = "FILE[:STRENGTH]")]
    lora: Vec<Lora>,
    /// Pixels, a multiple of 32 [default: 768].
    #[arg(long, allow_negative_numbers = true)]
    width: Option<i64>,
    /// Pixels, a multiple of 32 [default: 512].
    #[arg(long, allow_negative_numbers = true)]
    height: Option<i64>,
    /// Pictures in the video [default: 121].
    #[arg(long, alias = "num-frames", allow_negative_numbers = true)]
    frames: Option<i64>,
    /// Frames per second [default: 25].
    #[arg(long, alias = "frame-rate", allow_negative_numbers = true)]
    rate: Option<f64>,
    /// Denoising steps [default: 40 with LTX-2, 30 with LTX-2.3, 15 with hq].
    #[arg(long, allow_negative_numbers = true)]
    steps: Option<i64>,
    /// Seed of the noise; -1 draws one [default: 42].
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<i64>,
    #[command(flatten)]
    scales: Scales,
}

#[derive(Debug, clap::Args)]
struct Scales {
    /// Guidance of the picture by the prompt; 1 is off [default: 3].
    #[arg(long, allow_negative_numbers = true)]
    cfg_video: Option<f64>,
    /// Guidance of the sound by the prompt; 1 is off [default: 7].
    #[arg(long, allow_negative_numbers = true)]
    cfg_audio: Option<f64>,
    /// Spatio-temporal guidance of the picture; 0 is off [default: 1].
    #[arg(long, allow_negative_numbers = true)]
    stg_video: Option<f64>,
    /// Spatio-temporal guidance of the sound; 0 is off [default: 1].
    #[arg(long, allow_negative_numbers = true)]
    stg_audio: Option<f64>,
    /// Guidance of the picture by the sound; 1 is off [default: 3].
    #[arg(long, allow_negative_numbers = true)]
    modality_video: Option<f64>,
    /// Guidance of the sound by the picture; 1 is off [default: 3].
    #[arg(long, allow_negative_numbers = true)]
    modality_audio: Option<f64>,
    /// How far guidance may not widen the picture's spread, 0 to 1 [default: 0.7].
    #[arg(long, allow_negative_numbers = true)]
    rescale_video: Option<f64>,
    /// How far guidance may not widen the sound's spread, 0 to 1 [default: 0.7].
    #[arg(long, allow_negative_numbers = true)]
    rescale_audio: Option<f64>,
}

impl RequestArguments {
    fn request(&self) -> GenerationRequest {
        let picture = |file: &Path, frame, strength| ImageInput {
            source: InputRef::Upload(file.display().to_string()),
            frame,
            strength,
            crf: self.image_crf,
        };
        let rate = self.rate.unwrap_or_else(|| Limits::command_line().defaults.frame_rate.as_f64());
        let task = match &self.image {
            Some(file) => Task::ImageToVideo { images: vec![picture(file, 0, self.image_strength)] },
            None if self.keyframe.is_empty() => Task::TextToVideo,
            None => {
                let images = self.keyframe.iter().map(|key| picture(&key.file, key.at.frame(rate), key.strength));
                Task::Keyframes { images: images.collect() }
            }
        };
        let s = &self.scales;
        let guidance = |cfg, stg, modality, rescale| GuidanceRequest { cfg, stg, modality, rescale };
        GenerationRequest {
            enhance_prompt: self.enhance_prompt,
            negative_prompt: self.negative_prompt.clone(),
            pipeline: self.pipeline,
            sampler: self.sampler,
            camera: self.camera,
            loras: self.lora.iter().map(|lora| lora.0.clone()).collect(),
            width: self.width,
            height: self.height,
            num_frames: self.frames,
            frame_rate: self.rate,
            num_inference_steps: self.steps,
            seed: self.seed,
            video_guidance: guidance(s.cfg_video, s.stg_video, s.modality_video, s.rescale_video),
            audio_guidance: guidance(s.cfg_audio, s.stg_audio, s.modality_audio, s.rescale_audio),
            ..GenerationRequest::new(task, self.prompt.clone())
        }
    }

    /// The request with everything decided, or all that is wrong with it.
    pub fn valid(&self, models: &ModelSet) -> anyhow::Result<ValidRequest> {
        let limits = limits_for(Limits::command_line(), models);
        validate(self.request(), &limits, random_seed).map_err(|errors| {
            anyhow::anyhow!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })
    }
}

/// `FILE@TIME[:STRENGTH]`.
#[derive(Debug, Clone)]
struct Keyframe {
    file: PathBuf,
    at: Place,
    strength: f64,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Seconds(f64),
    Frame(u32),
}

impl Place {
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
        let wrong =
            || format!("keyframe is {text}, but it must be FILE@TIME or FILE@TIME:STRENGTH, such as end.png@2.5:0.8");
        let (file, place) = text.rsplit_once('@').ok_or_else(wrong)?;
        let (place, strength) = place.split_once(':').unwrap_or((place, "1"));
        let at = match place.strip_suffix('f') {
            Some(frame) => Place::Frame(frame.parse().map_err(|_| wrong())?),
            None => Place::Seconds(
                place.parse().ok().filter(|time: &f64| time.is_finite() && *time >= 0.0).ok_or_else(wrong)?,
            ),
        };
        Ok(Self { file: file.into(), at, strength: strength.parse().map_err(|_| wrong())? })
    }
}

/// `FILE[:STRENGTH]`.
#[derive(Debug, Clone)]
struct Lora(LoraInput);

impl FromStr for Lora {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A colon may belong to the path: what is behind it counts only if it is a number.
        let parsed = text.rsplit_once(':').and_then(|(file, strength)| Some((file, strength.parse().ok()?)));
        let (file, strength) = parsed.unwrap_or((text, 1.0));
        Ok(Self(LoraInput { source: LoraSource::File(file.into()), strength }))
    }
}

/// Not secret, only different each time; below 2^53 so that every JSON reader keeps it.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id()) >> 11
}
