//! Second-order sampling with fresh noise (`res2s_audio_video_denoising_loop`): an exponential Runge-Kutta step of two
//! predictions in the logarithm of the noise level, in float64.

use candle_core::{DType, Tensor};
use ltx2_models::AudioVideo;

use super::sampling::{Sampling, TensorName, latents, with_latents};
use crate::diffusion::latent_state::LatentState;
use crate::diffusion::noiser::SdeStream;
use crate::diffusion::stepper::res2s_step;
use crate::error::Result;

/// Replaces noise level 0, whose logarithm is undefined; a final prediction leads from here to 0.
const SMALLEST_SIGMA: f32 = 0.0011;
/// Logarithmic step size below which, and noise level above which, the anchor is refined.
const REFINED: (f64, f64) = (0.5, 0.03);
/// Iterations of the refinement.
const REFINEMENTS: usize = 100;

/// `res2s_audio_video_denoising_loop`.
pub(super) fn res2s(sampling: Sampling, mut states: AudioVideo<LatentState>) -> Result<AudioVideo<LatentState>> {
    let mut sigmas = sampling.sigmas.to_vec();
    let full_steps = sigmas.len() - 1;
    let to_zero = sigmas.last() == Some(&0.0);
    if to_zero {
        sigmas.insert(full_steps, SMALLEST_SIGMA);
    }
    sampling.noise.start_sde();
    let mut run = Run { sampling, updates: 0 };
    for step in 0..full_steps {
        run.sampling.report_step(step)?;
        states = run.step(&states, (sigmas[step], sigmas[step + 1]))?;
        run.sampling.report_states(step, &states)?;
    }
    if to_zero {
        let denoised = run.sampling.denoised(&states, sigmas[full_steps])?;
        states = run.rounded_states(&states, &denoised)?;
    }
    Ok(states)
}

/// A run of the sampler.
struct Run<'a> {
    sampling: Sampling<'a>,
    /// Number of mixes with fresh noise.
    updates: usize,
}

/// Latents of both modalities, float64.
type Wide = AudioVideo<Tensor>;

impl Run<'_> {
    fn step(&mut self, states: &AudioVideo<LatentState>, (sigma, next): (f32, f32)) -> Result<AudioVideo<LatentState>> {
        let h = -(f64::from(next) / f64::from(sigma)).ln();
        let middle = (f64::from(sigma) * f64::from(next)).sqrt();
        let Coefficients { a21, b1, b2 } = Coefficients::new(h);
        let mut anchor = widened(latents(states))?;
        let first = self.sampling.denoised(states, sigma)?;
        self.sampling.report_prediction(&first)?;
        let first = widened(first.as_ref())?;
        let mut eps1 = difference(&first, &anchor)?;
        let mid = anchor.as_ref().zip(eps1.as_ref()).try_map(|(anchor, eps)| anchor + (eps * (h * a21))?)?;
        let mid = self.inject(states, (&anchor, mid), (f64::from(sigma), middle), SdeStream::Substep)?;
        if h < REFINED.0 && f64::from(sigma) > REFINED.1 {
            for _ in 0..REFINEMENTS {
                anchor = mid.as_ref().zip(eps1.as_ref()).try_map(|(mid, eps)| mid - (eps * (h * a21))?)?;
                eps1 = difference(&first, &anchor)?;
            }
        }
        let mid_states = self.rounded_states(states, &mid)?;
        let second = widened(self.sampling.denoised(&mid_states, middle as f32)?.as_ref())?;
        let eps2 = difference(&second, &anchor)?;
        let slope = eps1.zip(eps2).try_map(|(eps1, eps2)| (eps1 * b1)? + (eps2 * b2)?)?;
        let end = anchor.as_ref().zip(slope).try_map(|(anchor, slope)| anchor + (slope * h)?)?;
        let levels = (f64::from(sigma), f64::from(next));
        let end = self.inject(states, (&anchor, end), levels, SdeStream::Step)?;
        self.rounded_states(states, &end)
    }

    /// Replaces part of the noise of `target` by fresh noise, and blends the result with the known latents.
    fn inject(
        &mut self,
        states: &AudioVideo<LatentState>,
        (anchor, target): (&Wide, Wide),
        levels: (f64, f64),
        stream: SdeStream,
    ) -> Result<Wide> {
        states.as_ref().zip(anchor.as_ref().zip(target)).try_map(|(state, (anchor, target))| {
            let noise = self.sampling.noise.draw_sde(stream, &target)?;
            self.sampling.report_tensor(TensorName::Noise, &noise)?;
            let mixed = res2s_step(anchor, &target, levels, &normalized(&noise)?)?;
            self.sampling.report_tensor(TensorName::Res2s { update: self.updates }, &mixed)?;
            self.updates += 1;
            Ok(state.blend(mixed)?)
        })
    }

    /// Returns the states with other noisy tokens, rounded to the dtype of the run.
    fn rounded_states(
        &self,
        states: &AudioVideo<LatentState>,
        latents: &AudioVideo<Tensor>,
    ) -> Result<AudioVideo<LatentState>> {
        let dtype = self.sampling.dtype;
        let rounded = latents.as_ref().try_map(|x| x.to_dtype(dtype)?.to_dtype(DType::F32))?;
        Ok(with_latents(states, rounded))
    }
}

fn widened(tensors: AudioVideo<&Tensor>) -> candle_core::Result<Wide> {
    tensors.try_map(|x| x.to_dtype(DType::F64))
}

fn difference(a: &Wide, b: &Wide) -> candle_core::Result<Wide> {
    a.as_ref().zip(b.as_ref()).try_map(|(a, b)| a - b)
}

/// Normalizes the whole draw to mean 0 and standard deviation 1, twice as in the official sampler.
fn normalized(noise: &Tensor) -> candle_core::Result<Tensor> {
    let once = |x: &Tensor| -> candle_core::Result<Tensor> {
        let count = x.elem_count() as f64;
        let centred = x.broadcast_sub(&(x.sum_all()? / count)?)?;
        let deviation = (centred.sqr()?.sum_all()?.to_scalar::<f64>()? / (count - 1.0)).sqrt();
        centred / deviation
    };
    once(&once(noise)?)
}

/// Weights of the two predictions (`get_res2s_coefficients`), with the midpoint at half the step.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Coefficients {
    a21: f64,
    b1: f64,
    b2: f64,
}

impl Coefficients {
    fn new(h: f64) -> Self {
        const C2: f64 = 0.5;
        let b2 = phi(2, -h) / C2;
        Self { a21: C2 * phi(1, -h * C2), b1: phi(1, -h) - b2, b2 }
    }
}

/// φ_j(z) = (e^z - Σ_{k<j} z^k / k!) / z^j, and its limit 1/j! at 0.
fn phi(j: i32, z: f64) -> f64 {
    let factorial = |n: i32| (1..=n).map(f64::from).product::<f64>();
    if z.abs() < 1e-10 {
        return 1.0 / factorial(j);
    }
    let remainder: f64 = (0..j).map(|k| z.powi(k) / factorial(k)).sum();
    (z.exp() - remainder) / z.powi(j)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_prediction_is_approached_exactly() {
        // For x' = -(x - d) the exact step is d + (x - d) e^-h, whatever the weights of the two predictions.
        for h in [1e-12, 0.01, 0.5, 3.0] {
            let Coefficients { a21, b1, b2 } = Coefficients::new(h);
            assert!((h * (b1 + b2) - (1.0 - (-h).exp())).abs() < 1e-9, "{h}");
            assert!((h * a21 - (1.0 - (-h / 2.0).exp())).abs() < 1e-9, "{h}");
        }
    }
}
