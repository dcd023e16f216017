//! Measuring the engine's phases one by one, at any shape, on any model set: the real architectures too, with synthetic
//! weights, as speed does not depend on their values.

mod flops;
mod full_size;
mod memory;
mod phase;
mod report;

use std::time::Instant;

use candle_core::{DType, Device, Tensor};

pub use phase::Phase;
pub use report::{Measurement, Report};

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
    let mut measurements = Vec::new();
    for phase in phases {
        measurements.push(measure_phase(engine, settings, *phase, ceiling)?);
    }
    Ok(Report::new(engine, settings, ceiling, measurements))
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
    memory::reset_peak(&device);
    let mut run = phase.prepare(engine, settings)?;
    for _ in 0..settings.warm_up {
        run()?;
    }
    let mut seconds = Vec::new();
    for _ in 0..settings.runs {
        device.synchronize()?;
        let start = Instant::now();
        run()?;
        device.synchronize()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    Ok(Measurement::new(phase, seconds, memory::peak(&device), flops, ceiling))
}

/// FLOP/s of the best of several square matrix products, large enough that nothing else counts.
fn matmul_ceiling(device: &Device, dtype: DType) -> Result<f64, PipelineError> {
    let side: usize = if device.is_cpu() { 1024 } else { 8192 };
    let matrix = || Tensor::randn(0f32, 1f32, (side, side), device)?.to_dtype(dtype);
    let (a, b) = (matrix()?, matrix()?);
    let mut best = f64::INFINITY;
    for _ in 0..8 {
        device.synchronize()?;
        let start = Instant::now();
        let product = a.matmul(&b)?;
        device.synchronize()?;
        best = best.min(start.elapsed().as_secs_f64());
        drop(product);
    }
    Ok(2.0 * (side as f64).powi(3) / best)
}
