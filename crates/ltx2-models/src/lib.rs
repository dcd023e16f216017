//! The networks of LTX-2 and the files that hold their weights. Tensors only: nothing here knows of requests.

pub mod adaln;
pub mod attention;
pub mod audio_vae;
pub mod checkpoint;
pub mod config;
pub mod feed_forward;
pub mod linear;
pub mod lora;
mod packed;
pub mod rope;
pub mod synth;
pub mod text_encoder;
pub mod transformer;
pub mod upsampler;
mod var_builder;
pub mod video_vae;
pub mod vocoder;

pub use ltx2_kernels::load_kernels;

pub use checkpoint::{Checkpoint, CheckpointError, KeptWeights};
pub use config::{ConfigError, Section};
pub use packed::Packed;
pub use var_builder::VarBuilder;
