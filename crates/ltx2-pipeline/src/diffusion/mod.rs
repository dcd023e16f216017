//! The parts of diffusion sampling, under the paper's names.

pub mod conditioning;
pub mod denoiser;
pub mod guider;
pub mod latent_state;
pub mod noiser;
pub mod patchifier;
pub mod philox;
pub mod sampler;
pub mod schedule;
pub mod stepper;

pub use conditioning::ConditioningItem;
pub use denoiser::Denoiser;
pub use latent_state::LatentState;
pub use noiser::NoiseSource;
