//! Networks of LTX-2 and their checkpoints. The crate works on tensors and has no notion of a request.

pub mod audio_vae;
mod audio_video;
pub mod checkpoint;
pub mod config;
mod diffusers_names;
pub mod filters;
pub mod layers;
pub mod linear;
pub mod lora;
mod quantized;
mod requested_tensors;
pub mod synth;
pub mod text_encoder;
pub mod transformer;
pub mod upsampler;
mod var_builder;
pub mod video_vae;
pub mod vocoder;
mod weight_backend;
mod weight_cache;
mod weight_files;

pub use ltx2_kernels::{AttentionKernel, load_kernels};

pub use audio_video::AudioVideo;
pub use checkpoint::{Checkpoint, CheckpointError, TensorShapes};
pub use config::{ConfigError, Section};
pub use quantized::{QuantizedWeight, WeightScale};
pub use requested_tensors::requested_tensors;
pub use var_builder::VarBuilder;
pub use weight_cache::WeightCache;
