//! The dual-stream audio-video diffusion transformer (paper section 3.1, `LTXModel`).

mod block;
mod config;
mod modality;
mod model;
mod perturbation;

pub use config::{StreamConfig, TransformerConfig};
pub use modality::{Modality, Pass, StreamRope, Timesteps};
pub use model::{Context, Transformer};
pub use perturbation::{Blocks, Perturbations};
