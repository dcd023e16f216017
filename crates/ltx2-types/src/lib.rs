//! The words that every layer shares: what is asked ([`GenerationRequest`]), what was agreed ([`ValidRequest`]),
//! and the seam between the worker and the engine ([`Generator`]). Plain data, no tensors, no I/O.

mod camera;
mod frame_rate;
mod generator;
mod request;
mod validate;

pub use camera::{Camera, CameraMotion};
pub use frame_rate::FrameRate;
pub use generator::{
    Device, Failure, FailureCode, Generator, Job, Output, OutputFormat, Phase, Progress, Report, RgbImage, Sound, Watch,
};
pub use request::{
    GenerationRequest, Guidance, GuidanceRequest, ImageInput, LoraInput, LoraSource, Pipeline, Sampler, Task,
    ValidRequest,
};
pub use validate::{FieldError, Limits, Rule, SamplingDefaults, validate};
