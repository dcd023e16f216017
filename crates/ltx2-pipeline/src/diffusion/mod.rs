//! Diffusion sampling: latent states, conditioning, noise, guidance and samplers, with the names of ltx_core.

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
pub mod token_layout;

pub use conditioning::ConditioningItem;
pub use denoiser::Denoiser;
pub use latent_state::LatentState;
pub use noiser::NoiseSource;
pub use token_layout::TokenLayout;
