//! Inference pipelines: a request becomes a [`plan::Plan`], the plan latents, and the latents frames and audio. The
//! crate knows models; it has no notion of HTTP, threads or the files of users.

mod device;
pub mod diffusion;
mod engine;
mod error;
mod execution;
mod generator;
mod inputs;
mod model_set;
pub mod plan;

pub use device::{DeviceChoice, DeviceError, DeviceMemory, GpuInfo, peak_memory, reset_peak_memory};
pub use engine::{AudioComponents, Engine, EngineSettings, Probe, RunContext, RunReport};
pub use error::{FeasibleRequest, PipelineError, Shortage};
pub use execution::{ExecutionConfig, Precision};
pub use ltx2_models::AttentionKernel;
pub use model_set::{FileReport, Inspection, LoraReport, ModelChoice, ModelSet};
