//! The dual-stream audio-video diffusion transformer (paper section 3.1, `LTXModel`).

mod block;
mod config;
mod context;
mod forward;
mod modality;
mod model;
mod modulation;
mod pass;
mod perturbation;
mod place;
mod stack;

pub use config::{StreamConfig, TextReading, TransformerConfig};
pub use context::Context;
pub use forward::Velocities;
pub use modality::{Modality, StreamRope, Timesteps};
pub use model::Transformer;
pub use pass::{Inputs, Pass, Prompt, Prompts};
pub use perturbation::{Blocks, Perturbations};
pub use place::{Fork, Part, Place, forks};
