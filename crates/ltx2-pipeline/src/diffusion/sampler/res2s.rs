//! The second-order sampler with fresh noise (`res2s_audio_video_denoising_loop`): an exponential Runge-Kutta step of
//! two predictions in the logarithm of the noise level, in float64.

use candle_core::{DType, Tensor};

use super::{Event, Name, Sampling, States, both};
use crate::PipelineError;
use crate::diffusion::LatentState;
use crate::diffusion::noiser::SdeStream;
use crate::diffusion::stepper::res2s_step;

type Result<T> = std::result::Result<T, PipelineError>;

/// Stands for noise level 0, whose logarithm there is not; a last prediction leads from there to 0.
const SMALLEST_SIGMA: f32 = 0.0011;
/// Steps longer than this, in the logarithm, and levels below that one are left without the refinement of the anchor.
const REFINED: (f64, f64) = (0.5, 0.03);
/// Rounds of the refinement.
const REFINEMENTS: usize = 100;

impl Sampling<'_> {
    pub(super) fn res2s(mut self, mut states: States) -> Result<States> {
        let mut sigmas = self.sigmas.to_vec();
        let full_steps = sigmas.len() - 1;
        let to_zero = sigmas.last() == Some(&0.0);
        if to_zero {
            sigmas.insert(full_steps, SMALLEST_SIGMA);
        }
        self.noise.start_sde();
        let mut updates = 0;
        for step in 0..full_steps {
            (self.observer)(Event::Step(step))?;
            states = self.res2s_step(&states, (sigmas[step], sigmas[step + 1]), &mut updates)?;
            self.keep_step(step, &states)?;
        }
        if to_zero {
            let denoised = self.denoised(&states, sigmas[full_steps])?;
            states = states.with_latents(both(|i| Ok(rounded(&denoised[i], self.dtype)?))?);
        }
        Ok(states)
    }

    fn res2s_step(&mut self, states: &States, (sigma, next): (f32, f32), updates: &mut usize) -> Result<States> {
        let h = -(f64::from(next) / f64::from(sigma)).ln();
        let middle = (f64::from(sigma) * f64::from(next)).sqrt();
        let Coefficients { a21, b1, b2 } = Coefficients::new(h);
        let latents = states.latents();
        let mut anchor = both(|i| Ok(latents[i].to_dtype(DType::F64)?))?;
        let first = self.denoised(states, sigma)?;
        (self.observer)(Event::Predicted(&first[0]))?;
        let first = self.wide(first)?;
        let mut eps1 = both(|i| Ok((&first[i] - &anchor[i])?))?;
        let mid = both(|i| Ok((&anchor[i] + (&eps1[i] * (h * a21))?)?))?;
        let mid = self.inject(states, (&anchor, mid), (f64::from(sigma), middle), SdeStream::Substep, updates)?;
        if h < REFINED.0 && f64::from(sigma) > REFINED.1 {
            for _ in 0..REFINEMENTS {
                anchor = both(|i| Ok((&mid[i] - (&eps1[i] * (h * a21))?)?))?;
                eps1 = both(|i| Ok((&first[i] - &anchor[i])?))?;
            }
        }
        let mid_states = states.with_latents(both(|i| Ok(rounded(&mid[i], self.dtype)?))?);
        let second = self.wide(self.denoised(&mid_states, middle as f32)?)?;
        let end = both(|i| {
            let eps2 = (&second[i] - &anchor[i])?;
            Ok((&anchor[i] + ((&eps1[i] * b1)? + (eps2 * b2)?)? * h)?)
        })?;
        let levels = (f64::from(sigma), f64::from(next));
        let end = self.inject(states, (&anchor, end), levels, SdeStream::Step, updates)?;
        Ok(states.with_latents(both(|i| Ok(rounded(&end[i], self.dtype)?))?))
    }

    /// `target` with part of its noise replaced by fresh noise, but for what is known of it.
    fn inject(
        &mut self,
        states: &States,
        (anchor, target): (&[Tensor; 2], [Tensor; 2]),
        levels: (f64, f64),
        stream: SdeStream,
        updates: &mut usize,
    ) -> Result<[Tensor; 2]> {
        let sides: [&LatentState; 2] = [&states.video, &states.audio];
        both(|i| {
            let noise = self.noise.draw_sde(stream, &target[i])?;
            (self.observer)(Event::Kept(Name::Noise, &noise))?;
            let mixed = res2s_step(&anchor[i], &target[i], levels, &normalized(&noise)?)?;
            (self.observer)(Event::Kept(Name::Res2s { update: *updates }, &mixed))?;
            *updates += 1;
            Ok(sides[i].blend(mixed)?)
        })
    }

    fn wide(&self, tensors: [Tensor; 2]) -> Result<[Tensor; 2]> {
        both(|i| Ok(tensors[i].to_dtype(DType::F64)?))
    }
}

/// To the run's dtype, and back to the one that latents have.
fn rounded(x: &Tensor, dtype: DType) -> candle_core::Result<Tensor> {
    x.to_dtype(dtype)?.to_dtype(DType::F32)
}

/// Mean 0 and spread 1 over the whole draw, twice as the published sampler has it.
fn normalized(noise: &Tensor) -> candle_core::Result<Tensor> {
    let once = |x: &Tensor| -> candle_core::Result<Tensor> {
        let count = x.elem_count() as f64;
        let centred = x.broadcast_sub(&(x.sum_all()? / count)?)?;
        let spread = (centred.sqr()?.sum_all()?.to_scalar::<f64>()? / (count - 1.0)).sqrt();
        centred / spread
    };
    once(&once(noise)?)
}

/// Weights of the two predictions (`get_res2s_coefficients`), with the middle one at half the step.
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
        // With x' = -(x - d) the exact step is d + (x - d) e^-h, whatever the two predictions' shares.
        for h in [1e-12, 0.01, 0.5, 3.0] {
            let Coefficients { a21, b1, b2 } = Coefficients::new(h);
            assert!((h * (b1 + b2) - (1.0 - (-h).exp())).abs() < 1e-9, "{h}");
            assert!((h * a21 - (1.0 - (-h / 2.0).exp())).abs() < 1e-9, "{h}");
        }
    }
}
