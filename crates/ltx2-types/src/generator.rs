//! Seam between the worker, which knows tasks and files, and the engine, which knows tensors.

use serde::{Deserialize, Serialize};

use crate::{AudioClip, Failure, InputId, Pipeline, Progress, RgbImage, ValidRequest, VideoInfo};

/// Video generator. Runs in the engine process.
pub trait Generator {
    /// Runs `job`, loads the model if needed, and writes the result to `output`: the video's properties, then the audio,
    /// then the frames in order.
    fn generate(&mut self, job: Job<'_>, output: &mut dyn Output, watch: &dyn Watch) -> Result<Report, Failure>;
    /// Whether a model is in memory.
    fn is_loaded(&self) -> bool;
    /// Returns the model version and the pipeline that would run `request`; `None` if they are unknown.
    fn provenance(&self, request: &ValidRequest) -> Option<Provenance> {
        let _ = request;
        None
    }
    /// Returns the device.
    fn device(&self) -> Device;
    /// Returns the model name of the GPU, if there is one and it is known.
    fn gpu_name(&self) -> Option<String> {
        None
    }
}

/// Model and pipeline of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Version of the checkpoint.
    pub model_version: String,
    /// Pipeline that runs.
    pub pipeline: Pipeline,
}

/// Device of a generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Device {
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
}

impl Device {
    /// Returns the name on the wire.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Summary of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Pipeline that ran.
    pub pipeline: Pipeline,
    /// Enhanced prompt, if the request asked for one.
    pub enhanced_prompt: Option<String>,
}

/// A request with access to its inputs.
pub struct Job<'a> {
    /// The request to run.
    pub request: &'a ValidRequest,
    /// Inputs of `request.task`, decoded on demand.
    pub inputs: &'a mut dyn Inputs,
}

/// Inputs of a task, decoded on demand.
pub trait Inputs {
    /// Returns an image: upright, without alpha, at its own size, after an H.264 pass of quality `crf` (0 skips it).
    fn image(&mut self, id: InputId, crf: u32) -> Result<RgbImage, Failure>;
    /// Opens a video as a stream of frames.
    fn video(&mut self, id: InputId) -> Result<VideoInput, Failure>;
    /// Returns the audio of an audio or video file, resampled to stereo at `sample_rate`.
    fn audio(&mut self, id: InputId, sample_rate: u32) -> Result<AudioClip, Failure>;
}

/// A video as a stream of frames.
pub struct VideoInput {
    /// Properties from the container. Its frame count is an estimate where the container does not state one.
    pub info: VideoInfo,
    /// Frames in order, upright, `info.width` by `info.height`.
    pub frames: Box<dyn Iterator<Item = Result<RgbImage, Failure>>>,
}

/// Receiver of a result.
pub trait Output {
    /// Starts the video. Called once, first.
    fn start(&mut self, info: VideoInfo) -> Result<(), Failure>;
    /// Takes the audio. Called at most once, after `start` and before the first frame; not called for a silent video.
    fn audio(&mut self, clip: AudioClip) -> Result<(), Failure>;
    /// Takes a frame: `width * height * 3` bytes of RGB.
    fn frame(&mut self, rgb: &[u8]) -> Result<(), Failure>;
}

/// Observer of a generation: takes progress and previews, and asks for cancellation.
pub trait Watch {
    /// Takes a change of progress.
    fn progress(&self, progress: Progress);
    /// Whether to stop. Checked between steps; the generation then ends with [`crate::FailureCode::Cancelled`].
    fn is_cancelled(&self) -> bool;
    /// Whether to make a preview. Checked every few steps.
    fn wants_preview(&self) -> bool {
        false
    }
    /// Takes a preview: the middle frame of the current prediction, at low resolution.
    fn preview(&self, image: RgbImage) {
        drop(image);
    }
}
