//! `ltx2 generate`.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use ltx2_media::Mp4Writer;
use ltx2_types::{
    FailureCode, GenerationRequest, Generator, GuidanceRequest, ImageInput, Job, Limits, Phase, Progress, Task, Watch,
    validate,
};

use crate::models::ModelArguments;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    models: ModelArguments,
    /// Text to be turned into picture and sound.
    #[arg(long)]
    prompt: String,
    /// Text to steer away from.
    #[arg(long)]
    negative_prompt: Option<String>,
    /// Picture to start from (PNG, JPEG or WebP).
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// How firmly the picture is held, 0 to 1.
    #[arg(long, default_value_t = 1.0, requires = "image")]
    image_strength: f64,
    /// Quality of the H.264 pass that makes the picture look like a video frame; 0 skips it.
    #[arg(long, default_value_t = 33, requires = "image")]
    image_crf: u32,
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
    /// Denoising steps [default: 40].
    #[arg(long, allow_negative_numbers = true)]
    steps: Option<i64>,
    /// Seed of the noise; -1 draws one [default: 42].
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<i64>,
    #[command(flatten)]
    scales: Scales,
    /// The MP4 to write.
    #[arg(long, value_name = "FILE", default_value = "ltx2.mp4")]
    out: PathBuf,
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

impl Arguments {
    fn request(&self) -> GenerationRequest {
        let task = match &self.image {
            None => Task::TextToVideo,
            Some(file) => {
                let file = file.display().to_string();
                let image = ImageInput { file, frame: 0, strength: self.image_strength, crf: self.image_crf };
                Task::ImageToVideo { images: vec![image] }
            }
        };
        let s = &self.scales;
        let guidance = |cfg, stg, modality, rescale| GuidanceRequest { cfg, stg, modality, rescale };
        GenerationRequest {
            negative_prompt: self.negative_prompt.clone(),
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
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let request = match validate(arguments.request(), &Limits::command_line(), random_seed) {
        Ok(request) => request,
        Err(errors) => bail!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
    };
    let images = match (&arguments.image, request.task.images()) {
        (Some(path), [image]) => vec![read_image(path, image)?],
        _ => Vec::new(),
    };
    let mut engine = arguments.models.engine()?;
    let mut output = Mp4Writer::create(&arguments.out)?;
    let bar = Bar::new();
    engine.generate(Job { request: &request, images: &images }, &mut output, &bar).map_err(|failure| {
        let hint =
            if failure.code == FailureCode::OutOfMemory { " (a smaller size or fewer frames may fit)" } else { "" };
        anyhow::anyhow!("{failure}{hint}")
    })?;
    output.finish()?;
    bar.finish();
    println!("{}", arguments.out.display());
    Ok(())
}

fn read_image(path: &Path, image: &ImageInput) -> anyhow::Result<ltx2_types::RgbImage> {
    let bytes = std::fs::read(path).with_context(|| format!("image: cannot read {}", path.display()))?;
    ltx2_media::conditioning_image(&bytes, image.crf).with_context(|| format!("image {}", path.display()))
}

/// Not secret, only different each time; below 2^53 so that every JSON reader keeps it.
pub fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id()) >> 11
}

/// Phase, step and time left on the terminal.
struct Bar {
    bar: ProgressBar,
    phase: Mutex<Option<Phase>>,
}

impl Bar {
    fn new() -> Self {
        let style = ProgressStyle::with_template("{msg:16} [{bar:30}] {pos}/{len}  {elapsed} gone, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar: ProgressBar::new(1).with_style(style), phase: Mutex::new(None) }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for Bar {
    fn progress(&self, progress: Progress) {
        let mut phase = self.phase.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if *phase != Some(progress.phase) {
            *phase = Some(progress.phase);
            self.bar.reset();
            self.bar.set_message(progress.phase.name().replace('_', " "));
        }
        self.bar.set_length(progress.total_steps.into());
        self.bar.set_position(progress.step.into());
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}
