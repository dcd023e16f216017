//! Fields of a request and the rules that they break.

use std::fmt;

/// Field of a request, under its name in the native API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Field {
    /// Version of the checkpoint, which the server's operator chooses.
    ModelVersion,
    /// The prompt.
    Prompt,
    /// The negative prompt.
    NegativePrompt,
    /// The pipeline.
    Pipeline,
    /// The sampler.
    Sampler,
    /// A LoRA.
    Lora,
    /// Strength of a LoRA.
    LoraStrength,
    /// The camera motion.
    Camera,
    /// Strength of the camera motion.
    CameraStrength,
    /// Width of the video.
    Width,
    /// Height of the video.
    Height,
    /// Number of frames.
    NumFrames,
    /// Frames per second.
    FrameRate,
    /// Denoising steps.
    NumInferenceSteps,
    /// Seed of the noise.
    Seed,
    /// Classifier-free guidance of the video.
    CfgScaleVideo,
    /// Spatio-temporal guidance of the video.
    StgScaleVideo,
    /// Guidance of the video by the audio.
    ModalityScaleVideo,
    /// Rescaling of the guided video prediction.
    RescaleVideo,
    /// Classifier-free guidance of the audio.
    CfgScaleAudio,
    /// Spatio-temporal guidance of the audio.
    StgScaleAudio,
    /// Guidance of the audio by the video.
    ModalityScaleAudio,
    /// Rescaling of the guided audio prediction.
    RescaleAudio,
    /// A conditioning image.
    Image,
    /// Strength of a conditioning image.
    ImageStrength,
    /// Frame of a conditioning image.
    ImageFrame,
    /// CRF of a conditioning image.
    ImageCrf,
    /// Format of the result.
    Format,
    /// Encoding quality of the result.
    Quality,
    /// Maximum size of the result.
    MaxBytes,
    /// A video input.
    Video,
    /// An audio input.
    Audio,
    /// Part of a video to generate again.
    Window,
    /// Length of the part of a video that an extension follows from.
    Context,
    /// Strength of a video input.
    VideoStrength,
    /// Strength of an audio input.
    AudioStrength,
    /// Noise level of a video input.
    Strength,
}

impl Field {
    /// Returns the name in the native API.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A field whose value breaks a rule.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field} is {value}, but {rule}")]
pub struct FieldError {
    /// The field.
    pub field: Field,
    /// The value, as text.
    pub value: String,
    /// The rule that the value breaks.
    pub rule: Rule,
}

impl FieldError {
    /// Returns an error for `field`.
    pub fn new(field: Field, value: impl fmt::Display, rule: Rule) -> Self {
        Self { field, value: value.to_string(), rule }
    }
}

/// Rule for the value of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// Must be between the bounds, both included.
    Between(f64, f64),
    /// Must be at least the bound.
    AtLeast(i64),
    /// Must be at most the bound.
    AtMost(u64),
    /// Must be a multiple.
    MultipleOf {
        /// Divisor.
        divisor: u32,
        /// Nearest valid values, in ascending order.
        nearest: Vec<u32>,
    },
    /// Must be finite.
    Finite,
    /// Must have at most this many characters.
    AtMostCharacters(usize),
    /// Must be below the number of frames.
    BelowFrames(u32),
    /// Must be supported by the model set; the text says what it supports.
    Supported(String),
}

impl Rule {
    /// Returns the rule that `value` must be a multiple of `divisor`, with the nearest multiples within `bounds`.
    pub fn multiple_of(divisor: u32, value: u32, bounds: (u32, u32)) -> Self {
        let below = value / divisor * divisor;
        let nearest = [Some(below), below.checked_add(divisor)].into_iter().flatten();
        Self::MultipleOf { divisor, nearest: nearest.filter(|side| (bounds.0..=bounds.1).contains(side)).collect() }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Between(low, high) => write!(f, "it must be between {low} and {high}"),
            Self::AtLeast(low) => write!(f, "it must be at least {low}"),
            Self::AtMost(high) => write!(f, "it must be at most {high}"),
            Self::MultipleOf { divisor, nearest } => {
                write!(f, "it must be a multiple of {divisor}")?;
                let nearest: Vec<String> = nearest.iter().map(u32::to_string).collect();
                if nearest.is_empty() { Ok(()) } else { write!(f, ", such as {}", nearest.join(" or ")) }
            }
            Self::Finite => f.write_str("it must be a finite number"),
            Self::AtMostCharacters(n) => write!(f, "it must have at most {n} characters"),
            Self::BelowFrames(n) => write!(f, "it must be below the number of frames, {n}"),
            Self::Supported(rule) => f.write_str(rule),
        }
    }
}
