//! Types that every layer shares: requests ([`GenerationRequest`], [`ValidRequest`]), tasks and their inputs and outputs,
//! and the seam between the worker and the engine ([`Generator`]). Plain data: no tensors, no I/O.

mod camera;
mod failure;
mod field;
mod frame_rate;
mod generator;
mod ids;
mod input;
mod limits;
mod lora;
mod media;
mod model_defaults;
mod names;
mod output;
mod output_rules;
mod plan_summary;
mod progress;
mod request;
mod task;
mod validate;

pub use camera::{Camera, CameraMotion};
pub use failure::{Failure, FailureCode};
pub use field::{Field, FieldError, Rule};
pub use frame_rate::FrameRate;
pub use generator::{Device, Generator, Inputs, Job, Output, Provenance, Report, VideoInput, Watch};
pub use ids::{AssetId, TaskId};
pub use input::{ImageInput, InputFile, InputId, InputKind, InputRef, TaskInput, TimeWindow};
pub use limits::{DEFAULT_NEGATIVE_PROMPT, Limits, SamplingDefaults};
pub use lora::{LoraInput, LoraSource};
pub use media::{AudioClip, AudioInfo, ImageLimits, RgbImage, SourceInfo, VideoInfo};
pub use model_defaults::ModelDefaults;
pub use output::{Container, OutputFile, OutputInfo, OutputRole, OutputSpec, Quality, VideoCodec, VideoFormat};
pub use plan_summary::{PlanSummary, StageSummary};
pub use progress::{Phase, Progress};
pub use request::{GenerationRequest, Guidance, GuidanceRequest, Pipeline, Sampler, ValidRequest};
pub use strum::{VariantArray, VariantNames};
pub use task::{DEFAULT_STRENGTH, ExtendSide, ExtendTask, RetakePart, Task};
pub use validate::validate;
