//! From a request to a plan, from a plan to latents, from latents to frames and sound. Knows models; not files that
//! users see, HTTP or threads.

mod device;
pub mod diffusion;
mod engine;
mod error;
mod generator;
mod image_conditioning;
mod model_set;
pub mod plan;
mod precision;

pub use device::{Card, DeviceChoice, DeviceMemory, peak_memory, reset_peak_memory};
pub use engine::{Engine, EngineSettings, Probe, RunContext, RunReport};
pub use error::{PipelineError, Shortage};
pub use ltx2_models::AttentionKernel;
pub use model_set::ModelSet;
pub use precision::Precision;
