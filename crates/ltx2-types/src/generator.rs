//! The seam between the worker, which has tasks and files, and the engine, which has tensors.

use serde::{Deserialize, Serialize};

use crate::{FrameRate, Pipeline, ValidRequest};

/// Something that turns a request into pictures and sound. Lives on the one thread that owns the device.
pub trait Generator {
    /// Runs `job`, loading the model if need be, and hands the result to `output` as it is produced: the format, then
    /// the sound, then the frames in order.
    fn generate(&mut self, job: Job<'_>, output: &mut dyn Output, watch: &dyn Watch) -> Result<Report, Failure>;
    /// Whether a model is held in memory.
    fn is_loaded(&self) -> bool;
    /// What it computes on.
    fn device(&self) -> Device;
}

/// What a generator computes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// The processor.
    Cpu,
    /// A GPU by CUDA.
    Cuda,
}

impl Device {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which stages ran.
    pub pipeline: Pipeline,
    /// What became of the prompt, where it was to be enhanced.
    pub enhanced_prompt: Option<String>,
}

/// A request with its inputs decoded.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// What to make.
    pub request: &'a ValidRequest,
    /// The pictures of `request.task.images()`, in that order: upright, without alpha, at their own size, and after the
    /// H.264 pass that each asks for.
    pub images: &'a [RgbImage],
}

/// 8-bit RGB, rows from the top, 3 bytes a pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbImage {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// `width * height * 3` bytes.
    pub data: Vec<u8>,
}

/// Takes the result while it is produced.
pub trait Output {
    /// Called once, first.
    fn start(&mut self, format: OutputFormat) -> Result<(), Failure>;
    /// Called once, after `start` and before the first frame.
    fn sound(&mut self, sound: Sound) -> Result<(), Failure>;
    /// One picture: `width * height * 3` bytes of RGB.
    fn frame(&mut self, rgb: &[u8]) -> Result<(), Failure>;
}

/// What will be produced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutputFormat {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Pictures.
    pub num_frames: u32,
    /// Frames per second.
    pub frame_rate: FrameRate,
}

/// Stereo samples in [-1, 1], left and right in turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Sound {
    /// Samples per second and channel.
    pub sample_rate: u32,
    /// Interleaved left, right.
    pub samples: Vec<f32>,
}

/// Where progress goes to and cancellation comes from.
pub trait Watch {
    /// Called whenever `progress` changes.
    fn progress(&self, progress: Progress);
    /// Asked between steps; `true` makes the run end with [`FailureCode::Cancelled`].
    fn is_cancelled(&self) -> bool;
    /// Asked every few steps; `true` has a picture made for [`Watch::preview`].
    fn wants_preview(&self) -> bool {
        false
    }
    /// Takes a small picture of what the video is about to be: its middle, as predicted so far.
    fn preview(&self, picture: RgbImage) {
        drop(picture);
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Steps of the phase that are done.
    pub step: u32,
    /// Steps of the phase.
    pub total_steps: u32,
}

/// The parts of a run, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Prompts to contexts (loading the text encoder included).
    EncodingPrompt,
    /// Reading the transformer's weights.
    Loading,
    /// Noise to latents, a step each.
    Denoising,
    /// Latents to frames and sound, and into the file.
    Decoding,
}

impl Phase {
    /// The phase's name on the wire and on the terminal.
    pub fn name(self) -> &'static str {
        match self {
            Self::EncodingPrompt => "encoding_prompt",
            Self::Loading => "loading",
            Self::Denoising => "denoising",
            Self::Decoding => "decoding",
        }
    }
}

/// Why a run ended without a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Failure {
    /// For programs.
    pub code: FailureCode,
    /// For people: what was asked, what went wrong, what would work.
    pub message: String,
}

impl Failure {
    /// A failure with its reason.
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The kinds of failure that callers may want to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// [`Watch::is_cancelled`] said so.
    Cancelled,
    /// An input file could not be read or used.
    BadInput,
    /// Model files are missing, damaged or of an unknown kind.
    Model,
    /// The device or the machine has too little memory.
    OutOfMemory,
    /// The device had a fault after which this process can compute nothing more on it.
    DeviceLost,
    /// The result could not be written.
    Output,
    /// Anything else.
    Internal,
}

impl FailureCode {
    /// Whether the generator's process can do nothing more, and has to be started afresh.
    pub fn is_fatal(self) -> bool {
        self == Self::DeviceLost
    }
}
