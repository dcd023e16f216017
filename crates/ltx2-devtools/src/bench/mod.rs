//! Benchmarks of the engine's phases at any shape, on any model set. Synthetic weights of the published architectures
//! serve as well as real ones, because speed does not depend on the weights' values.

mod flops;
mod phase;
mod report;
mod runs;
mod settings;
mod stopwatch;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use ltx2_pipeline::{Engine, PipelineError, peak_memory, reset_peak_memory};

pub use phase::BenchPhase;
pub use report::{BenchReport, Measurement};
pub use settings::BenchSettings;
use stopwatch::Stopwatch;

/// Measures `phases` in order.
///
/// # Errors
/// A phase fails, or the device runs out of memory.
pub fn measure(engine: &mut Engine, settings: &BenchSettings, phases: &[BenchPhase]) -> Result<BenchReport> {
    let ceiling = matmul_ceiling(&engine.settings().device, engine.settings().precision.dtype())?;
    let mut report = BenchReport::new(engine, settings, ceiling);
    for phase in phases {
        let measured = measure_phase(engine, settings, *phase, ceiling);
        report.phases.push(measured.map_err(|error| engine.recover(error, None))?);
    }
    Ok(report)
}

fn measure_phase(
    engine: &mut Engine,
    settings: &BenchSettings,
    phase: BenchPhase,
    ceiling: f64,
) -> Result<Measurement, PipelineError> {
    let device = engine.settings().device.clone();
    let flops = flops::flops_of(phase, engine.models(), settings);
    // Nothing else stays in memory, so that the peak is that of the phase alone.
    engine.unload();
    reset_peak_memory(&device);
    let mut run = runs::prepare(phase, engine, settings)?;
    for _ in 0..settings.warm_up {
        run()?;
    }
    let mut seconds = Vec::new();
    for _ in 0..settings.runs {
        let watch = Stopwatch::start(&device)?;
        run()?;
        seconds.push(watch.stop()?);
    }
    Ok(Measurement::new(phase, seconds, peak_memory(&device), flops, ceiling))
}

/// Returns the FLOP/s of the fastest of several large square matrix products.
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
