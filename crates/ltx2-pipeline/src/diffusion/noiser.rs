//! Gaussian noise into a latent state (`GaussianNoiser`).

use std::collections::VecDeque;

use candle_core::{DType, Result, Tensor};

use super::LatentState;
use super::philox::Philox;

/// Where draws come from, in the order in which a run asks for them.
#[derive(Debug, Clone)]
pub enum NoiseSource {
    /// Those of a seed.
    Generated {
        /// The seed's own.
        initial: Philox,
        /// The second-order sampler's, one for each [`SdeStream`].
        sde: [Philox; 2],
    },
    /// Recorded ones, `(1, n, channels)` each.
    Recorded(VecDeque<Tensor>),
}

/// Which of the second-order sampler's two generators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SdeStream {
    /// For the middle of a step.
    Substep,
    /// For its end.
    Step,
}

/// Seeds of the second-order sampler's generators: the same for every request and stage, as in the official code.
const SDE_SEEDS: [u64; 2] = [9_999, u64::MAX];

impl Default for NoiseSource {
    fn default() -> Self {
        Self::Recorded(VecDeque::new())
    }
}

impl NoiseSource {
    /// The noise of `seed` on a card with that many multiprocessors.
    pub fn of_seed(seed: u64, multiprocessors: usize) -> Self {
        let generator = |seed| Philox::new(seed, multiprocessors);
        Self::Generated { initial: generator(seed), sde: SDE_SEEDS.map(generator) }
    }

    /// The next draw for `like`, rounded to the run's `dtype`.
    pub fn draw(&mut self, like: &Tensor, dtype: DType) -> Result<Tensor> {
        let noise = match self {
            Self::Generated { initial, .. } => {
                Tensor::from_vec(initial.randn(like.elem_count()), like.shape(), like.device())?
            }
            Self::Recorded(draws) => recorded(draws, like)?,
        };
        // The draw itself is in the run's dtype in the official pipelines.
        noise.to_dtype(dtype)?.to_dtype(DType::F32)
    }

    /// Starts the second-order sampler's generators again, as every stage does.
    pub fn start_sde(&mut self) {
        if let Self::Generated { sde, .. } = self {
            sde.iter_mut().zip(SDE_SEEDS).for_each(|(generator, seed)| *generator = generator.reseeded(seed));
        }
    }

    /// The second-order sampler's next draw for `like`, float64.
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
    let Some(noise) = draws.pop_front() else { candle_core::bail!("the recorded noise has no further draw") };
    if noise.shape() != like.shape() {
        candle_core::bail!("the recorded noise is {:?}, but {:?} is needed", noise.shape(), like.shape());
    }
    noise.to_device(like.device())
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
