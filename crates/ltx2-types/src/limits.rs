//! Limits and defaults of a deployment.

use crate::{FrameRate, Guidance, OutputSpec, Pipeline, Task, ValidRequest, VideoFormat};

/// Limits of request fields, and their defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Divisor of width and height, pixels.
    pub size_multiple: u32,
    /// Minimum width and height, pixels: the decoder's reflect padding needs two latent cells of 32.
    pub min_size: u32,
    /// Maximum width and height, pixels.
    pub max_size: u32,
    /// Maximum number of frames.
    pub max_frames: u32,
    /// Maximum number of denoising steps.
    pub max_steps: u32,
    /// Minimum and maximum frame rate.
    pub frame_rate: (f64, f64),
    /// Maximum guidance scale.
    pub max_scale: f64,
    /// Maximum absolute strength of a LoRA.
    pub max_lora_strength: f64,
    /// Maximum length of a prompt, characters.
    pub max_prompt: usize,
    /// Formats that this build cannot write, each with the ffmpeg encoder that it lacks.
    pub missing_encoders: Vec<(VideoFormat, &'static str)>,
    /// Values of omitted fields.
    pub defaults: ValidRequest,
    /// Steps and guidance of [`Pipeline::Hq`], whose steps are second-order.
    pub hq: SamplingDefaults,
}

/// Default steps and guidance of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingDefaults {
    /// Denoising steps.
    pub num_inference_steps: u32,
    /// Guidance of the video.
    pub video_guidance: Guidance,
    /// Guidance of the audio.
    pub audio_guidance: Guidance,
}

impl Limits {
    /// Returns the limits of the HTTP API: sizes are multiples of 64.
    pub fn server() -> Self {
        Self {
            size_multiple: 64,
            min_size: 64,
            max_size: 4096,
            max_frames: 1441,
            max_steps: 200,
            frame_rate: (1.0, 120.0),
            max_scale: 100.0,
            max_lora_strength: 2.0,
            max_prompt: 20_000,
            missing_encoders: Vec::new(),
            defaults: ValidRequest {
                task: Task::TextToVideo,
                source: None,
                prompt: String::new(),
                enhance_prompt: false,
                negative_prompt: DEFAULT_NEGATIVE_PROMPT.into(),
                pipeline: None,
                sampler: None,
                loras: Vec::new(),
                camera: None,
                width: 768,
                height: 512,
                num_frames: 121,
                frame_rate: FrameRate::new(25.0).expect("a positive rate"),
                num_inference_steps: 40,
                seed: 42,
                video_guidance: Guidance { cfg: 3.0, stg: 1.0, modality: 3.0, rescale: 0.7 },
                audio_guidance: Guidance { cfg: 7.0, stg: 1.0, modality: 3.0, rescale: 0.7 },
                output: OutputSpec::default(),
                notes: Vec::new(),
            },
            hq: SamplingDefaults {
                num_inference_steps: 15,
                video_guidance: Guidance { cfg: 3.0, stg: 0.0, modality: 3.0, rescale: 0.45 },
                audio_guidance: Guidance { cfg: 7.0, stg: 0.0, modality: 3.0, rescale: 1.0 },
            },
        }
    }

    /// Returns the default steps and guidance of `pipeline`.
    pub(crate) fn sampling(&self, pipeline: Option<Pipeline>) -> SamplingDefaults {
        match pipeline {
            Some(Pipeline::Hq) => self.hq.clone(),
            _ => SamplingDefaults {
                num_inference_steps: self.defaults.num_inference_steps,
                video_guidance: self.defaults.video_guidance.clone(),
                audio_guidance: self.defaults.audio_guidance.clone(),
            },
        }
    }

    /// Returns the limits of the command line: sizes are multiples of 32, which one-stage generation supports.
    pub fn command_line() -> Self {
        Self { size_multiple: 32, ..Self::server() }
    }
}

/// Default negative prompt: that of the official pipelines, which hosted APIs document as well.
pub const DEFAULT_NEGATIVE_PROMPT: &str = "\
has_subtitles, has_blurbox, transition from black, transition to black, speech_ending_short, blurry, out of focus, \
overexposed, underexposed, low contrast, washed out colors, excessive noise, grainy texture, poor lighting, \
flickering, motion blur, distorted proportions, unnatural skin tones, deformed facial features, asymmetrical face, \
missing facial features, extra limbs, disfigured hands, wrong hand count, artifacts around text, inconsistent \
perspective, camera shake, incorrect depth of field, background too sharp, background clutter, distracting \
reflections, harsh shadows, inconsistent lighting direction, color banding, cartoonish rendering, 3D CGI look, \
unrealistic materials, uncanny valley effect, incorrect ethnicity, wrong gender, exaggerated expressions, wrong gaze \
direction, mismatched lip sync, silent or muted audio, distorted voice, robotic voice, echo, background noise, \
off-sync audio, incorrect dialogue, added dialogue, repetitive speech, jittery movement, awkward pauses, incorrect \
timing, unnatural transitions, inconsistent framing, tilted camera, flat lighting, inconsistent tone, cinematic \
oversaturation, stylized filters, or AI artifacts.";
