//! Gaussian noise into a latent state (`GaussianNoiser`).

use std::collections::VecDeque;

use candle_core::{DType, Result, Tensor};

use super::LatentState;
use super::philox::Philox;

/// Where draws come from, in the order in which a run asks for them.
#[derive(Debug, Clone)]
pub enum NoiseSource {
    /// The seed's.
    Generator(Philox),
    /// Recorded ones, `(1, n, channels)` each.
    Recorded(VecDeque<Tensor>),
}

impl NoiseSource {
    /// The next draw for `like`, rounded to the run's `dtype`.
    fn draw(&mut self, like: &Tensor, dtype: DType) -> Result<Tensor> {
        let noise = match self {
            Self::Generator(philox) => Tensor::from_vec(philox.randn(like.elem_count()), like.shape(), like.device())?,
            Self::Recorded(draws) => {
                let Some(noise) = draws.pop_front() else {
                    candle_core::bail!("the recorded noise has no further draw")
                };
                if noise.shape() != like.shape() {
                    candle_core::bail!("the recorded noise is {:?}, but {:?} is needed", noise.shape(), like.shape());
                }
                noise.to_device(like.device())?
            }
        };
        // The draw itself is in the run's dtype in the official pipelines.
        noise.to_dtype(dtype)?.to_dtype(DType::F32)
    }
}

/// Mixes noise into `state`, as much as its mask and `noise_scale` say. Returns the draw as well.
pub fn add_noise(
    state: LatentState,
    noise_scale: f64,
    source: &mut NoiseSource,
    dtype: DType,
) -> Result<(LatentState, Tensor)> {
    let noise = source.draw(&state.latent, dtype)?;
    let mask = (state.mask()? * noise_scale)?;
    let kept = state.latent.broadcast_mul(&(1.0 - &mask)?)?;
    let latent = (noise.broadcast_mul(&mask)? + kept)?;
    Ok((LatentState { latent, ..state }, noise))
}
