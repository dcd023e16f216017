//! From a request to a plan, from a plan to latents, from latents to frames and sound. Knows models; not files that
//! users see, HTTP or threads.

pub mod bench;
mod decoded_images;
pub mod demo_model;
mod device;
pub mod diffusion;
mod engine;
mod error;
mod generator;
mod image_conditioning;
mod model_set;
pub mod plan;
mod precision;
pub mod trace;

pub use decoded_images::DecodedImages;
pub use device::{Card, Clock, DeviceChoice, DeviceMemory};
pub use engine::{Engine, EngineSettings, Probe};
pub use error::{PipelineError, Shortage};
pub use model_set::ModelSet;
pub use precision::Precision;
