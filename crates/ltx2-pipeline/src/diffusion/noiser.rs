//! Noise and its addition to a latent state (`GaussianNoiser`).

use std::collections::VecDeque;

use candle_core::{DType, Result, Tensor, bail};

use super::latent_state::{Freeze, LatentState};
use super::philox::Philox;

/// Source of the draws of a run, in order.
#[derive(Debug, Clone)]
pub enum NoiseSource {
    /// Generated from a seed.
    Generated {
        /// Generator of the initial noise.
        initial: Philox,
        /// Generators of the second-order sampler, one per [`SdeStream`].
        sde: [Philox; 2],
    },
    /// Recorded draws, `(1, n, channels)` each.
    Recorded(VecDeque<Tensor>),
}

/// Generators of the second-order sampler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SdeStream {
    /// Noise at the midpoint of a step.
    Substep,
    /// Noise at the end of a step.
    Step,
}

/// Seeds of the second-order sampler's generators; the official code uses the same for every request and stage.
const SDE_SEEDS: [u64; 2] = [9_999, u64::MAX];

impl Default for NoiseSource {
    fn default() -> Self {
        Self::Recorded(VecDeque::new())
    }
}

impl NoiseSource {
    /// Returns the noise of `seed` on a GPU with `multiprocessors` multiprocessors.
    pub fn of_seed(seed: u64, multiprocessors: usize) -> Self {
        let generator = |seed| Philox::new(seed, multiprocessors);
        Self::Generated { initial: generator(seed), sde: SDE_SEEDS.map(generator) }
    }

    /// Returns the next draw with the shape of `like`, float32 values rounded to `dtype`.
    ///
    /// # Errors
    /// The recorded noise ends or has another shape.
    pub fn draw(&mut self, like: &Tensor, dtype: DType) -> Result<Tensor> {
        let noise = match self {
            Self::Generated { initial, .. } => {
                Tensor::from_vec(initial.randn(like.elem_count()), like.shape(), like.device())?
            }
            Self::Recorded(draws) => recorded(draws, like)?,
        };
        // The official pipelines draw in the run's dtype.
        noise.to_dtype(dtype)?.to_dtype(DType::F32)
    }

    /// Resets the second-order sampler's generators, as at the start of every stage.
    pub fn start_sde(&mut self) {
        if let Self::Generated { sde, .. } = self {
            sde.iter_mut().zip(SDE_SEEDS).for_each(|(generator, seed)| *generator = generator.reseeded(seed));
        }
    }

    /// Returns the next draw of the second-order sampler with the shape of `like`, float64.
    ///
    /// # Errors
    /// The recorded noise ends or has another shape.
    pub fn draw_sde(&mut self, stream: SdeStream, like: &Tensor) -> Result<Tensor> {
        match self {
            Self::Generated { sde, .. } => {
                let normals = sde[stream as usize].randn_f64(like.elem_count());
                Tensor::from_vec(normals, like.shape(), like.device())
            }
            Self::Recorded(draws) => recorded(draws, like)?.to_dtype(DType::F64),
        }
    }
}

fn recorded(draws: &mut VecDeque<Tensor>, like: &Tensor) -> Result<Tensor> {
    let Some(noise) = draws.pop_front() else { bail!("the recorded noise has no further draw") };
    if noise.shape() != like.shape() {
        bail!("the recorded noise has shape {:?}, but the latent {:?}", noise.shape(), like.shape());
    }
    noise.to_device(like.device())
}

/// Moves the latent of `state` towards noise by `noise_scale`, then blends it with the clean latent by the mask. Returns the
/// draw as well: a frozen state takes one and stays as it is, so that the draws of the other modality do not depend on
/// it, unless its noise scale is above 0 ([`Freeze::Noised`]).
pub fn add_noise(
    state: &LatentState,
    noise_scale: f64,
    source: &mut NoiseSource,
    dtype: DType,
) -> Result<(LatentState, Tensor)> {
    let noise = source.draw(&state.latent, dtype)?;
    let noisy = ((&noise * noise_scale)? + (&state.latent * (1.0 - noise_scale))?)?;
    if state.freeze == Freeze::Clean && noise_scale > 0.0 {
        return Ok((LatentState { latent: noisy, freeze: Freeze::Noised, ..state.clone() }, noise));
    }
    let latent = state.blend(noisy)?;
    Ok((state.with_latent(latent), noise))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use ltx2_models::layers::Positions;

    use super::*;

    #[test]
    fn noise_is_blended_with_the_clean_latent_and_a_frozen_state_takes_a_draw_without_effect() -> Result<()> {
        let positions = Positions::new(vec![vec![(0.0, 1.0), (1.0, 2.0)]]);
        let start = Tensor::new(&[[[1f32], [2.]]], &Device::Cpu)?;
        let state = LatentState::new(positions, Some(&start), 1, &Device::Cpu)?;
        let clean_latent = Tensor::new(&[[[1f32], [10.]]], &Device::Cpu)?;
        let state = LatentState { denoise_mask: vec![1.0, 0.5], clean_latent, ..state };
        let draw = Tensor::new(&[[[4f32], [8.]]], &Device::Cpu)?;
        let other = Tensor::new(&[[[2f32], [4.]]], &Device::Cpu)?;
        let mut source = NoiseSource::Recorded([draw.clone(), draw, other].into());
        let values = |state: &LatentState| state.latent.flatten_all()?.to_vec1::<f32>();
        let (noisy, _) = add_noise(&state, 0.5, &mut source, DType::F32)?;
        assert_eq!(values(&noisy)?, [2.5, 7.5]);
        let (frozen, _) = add_noise(&state.clone().freeze(), 0.0, &mut source, DType::F32)?;
        assert_eq!((values(&frozen)?, frozen.freeze), (vec![1., 10.], Freeze::Clean));
        let (noised, _) = add_noise(&state.freeze(), 1.0, &mut source, DType::F32)?;
        assert_eq!((values(&noised)?, noised.freeze, noised.sigma(0.5)), (vec![2., 4.], Freeze::Noised, 0.0));
        assert!(add_noise(&frozen, 0.0, &mut source, DType::F32).is_err(), "all draws are taken");
        Ok(())
    }
}
