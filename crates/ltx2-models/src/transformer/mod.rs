//! The dual-stream audio-video diffusion transformer (`LTXModel`, paper section 3.1).

mod block;
mod block_stack;
mod config;
mod context;
mod forward;
mod modality;
mod model;
mod modulation;
mod pass;
mod perturbation;
mod project_context;
mod shared_prefix;
mod stream;
mod stream_names;
mod sublayer;

pub use config::{StreamConfig, TextKeysValues, TransformerConfig};
pub use context::PromptContext;
pub use modality::{Modality, StreamRope, Timesteps};
pub use model::Transformer;
pub use pass::{Pass, Prompt, PromptContexts, StepInputs};
pub use perturbation::{BlockSet, Perturbations};
pub use shared_prefix::{Fork, forks};
pub use sublayer::{Sublayer, SublayerIndex};
