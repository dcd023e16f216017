//! Measuring the engine's phases one by one, at any shape, on any model set: the real architectures too, with synthetic
//! weights, as speed does not depend on their values.

mod flops;
mod full_size;
mod phase;
mod report;

use candle_core::{DType, Device, Tensor};

pub use phase::Phase;
pub use report::{Measurement, Report};

use crate::device::{self, Stopwatch};
use crate::diffusion::patchifier::PixelShape;
use crate::{Engine, PipelineError};

/// What to measure.
#[derive(Debug, Clone)]
pub struct Settings {
    /// At which size and length.
    pub shape: PixelShape,
    /// Steps of [`Phase::Denoise`].
    pub steps: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Runs that are not counted.
    pub warm_up: usize,
    /// Runs that are.
    pub runs: usize,
}

/// Measures `phases`, one after the other.
pub fn measure(engine: &mut Engine, settings: &Settings, phases: &[Phase]) -> Result<Report, PipelineError> {
    let ceiling = matmul_ceiling(&engine.settings().device, engine.settings().precision.dtype())?;
    let mut report = Report::new(engine, settings, ceiling);
    for phase in phases {
        let measured = measure_phase(engine, settings, *phase, ceiling);
        report.phases.push(measured.map_err(|error| engine.settled(error, None))?);
    }
    Ok(report)
}

fn measure_phase(
    engine: &mut Engine,
    settings: &Settings,
    phase: Phase,
    ceiling: f64,
) -> Result<Measurement, PipelineError> {
    let device = engine.settings().device.clone();
    let flops = flops::of(phase, engine.models(), settings);
    // Each phase starts with nothing else in memory, so that its peak is its own.
    engine.unload();
    device::reset_peak(&device);
    let mut run = phase.prepare(engine, settings)?;
    for _ in 0..settings.warm_up {
        run()?;
    }
    let mut seconds = Vec::new();
    for _ in 0..settings.runs {
        let watch = Stopwatch::start(&device)?;
        run()?;
        seconds.push(watch.stop()?);
    }
    Ok(Measurement::new(phase, seconds, device::peak(&device), flops, ceiling))
}

/// FLOP/s of the best of several square matrix products, large enough that nothing else counts.
fn matmul_ceiling(device: &Device, dtype: DType) -> Result<f64, PipelineError> {
    let side: usize = if device.is_cpu() { 1024 } else { 8192 };
    let matrix = || Tensor::randn(0f32, 1f32, (side, side), device)?.to_dtype(dtype);
    let (a, b) = (matrix()?, matrix()?);
    let mut best = f64::INFINITY;
    for _ in 0..8 {
        let watch = Stopwatch::start(device)?;
        let product = a.matmul(&b)?;
        best = best.min(watch.stop()?);
        drop(product);
    }
    Ok(2.0 * (side as f64).powi(3) / best)
}
