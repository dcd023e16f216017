//! Results of a benchmark, as a table and as JSON.

use std::fmt;

use ltx2_pipeline::diffusion::patchifier::PixelShape;
use ltx2_pipeline::{DeviceMemory, Engine, GpuInfo};
use serde::Serialize;

use super::phase::BenchPhase;
use super::settings::BenchSettings;
use super::stopwatch::{Clock, Stopwatch};

/// Timings of one phase.
#[derive(Debug, Clone, Serialize)]
pub struct Measurement {
    /// Name of the phase.
    pub phase: &'static str,
    /// Seconds of each run.
    pub seconds: Vec<f64>,
    /// Median of `seconds`.
    pub median_seconds: f64,
    /// Peak memory since before the phase's weights were loaded, bytes.
    pub peak_bytes: Option<u64>,
    /// Lower bound of the TFLOP of a run, for phases that are counted.
    pub tflop: Option<f64>,
    /// TFLOP per second.
    pub tflops: Option<f64>,
    /// `tflops` as a fraction of the rate of a large matrix product.
    pub share_of_ceiling: Option<f64>,
}

impl Measurement {
    /// Returns the measurement of work outside the engine, timed by the caller.
    pub fn of_host(phase: &'static str, seconds: Vec<f64>) -> Self {
        let median_seconds = median(&seconds);
        Self { phase, seconds, median_seconds, peak_bytes: None, tflop: None, tflops: None, share_of_ceiling: None }
    }

    pub(super) fn new(
        phase: BenchPhase,
        seconds: Vec<f64>,
        peak_bytes: Option<u64>,
        flops: Option<f64>,
        ceiling: f64,
    ) -> Self {
        let median_seconds = median(&seconds);
        let rate = flops.map(|flops| flops / median_seconds);
        Self {
            phase: phase.name(),
            seconds,
            median_seconds,
            peak_bytes,
            tflop: flops.map(|flops| flops / 1e12),
            tflops: rate.map(|rate| rate / 1e12),
            share_of_ceiling: rate.map(|rate| rate / ceiling),
        }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// Measurements of all phases with their conditions.
#[derive(Debug, Clone, Serialize)]
pub struct BenchReport {
    /// Origin of the weights.
    pub model: String,
    /// `cpu` or `cuda`.
    pub device: &'static str,
    /// The GPU.
    #[serde(rename = "card")]
    pub gpu: Option<GpuInfo>,
    /// Memory of the GPU before the first phase.
    pub memory: Option<DeviceMemory>,
    /// Clock of the engine's phases; `muxing` is always timed by the host.
    pub clock: Clock,
    /// `f32` or `bf16`.
    pub dtype: &'static str,
    /// Size and length of the video.
    pub shape: PixelShape,
    /// Video and audio tokens.
    pub tokens: (usize, usize),
    /// Denoising steps.
    pub steps: usize,
    /// TFLOP/s of a large matrix product.
    pub ceiling_tflops: f64,
    /// Measurements in the requested order.
    pub phases: Vec<Measurement>,
}

impl BenchReport {
    /// Returns a report without measurements. `ceiling` is the FLOP/s of a large matrix product.
    pub(super) fn new(engine: &Engine, settings: &BenchSettings, ceiling: f64) -> Self {
        let device = &engine.settings().device;
        Self {
            model: engine.models().name(),
            device: if device.is_cuda() { "cuda" } else { "cpu" },
            gpu: GpuInfo::of(device),
            memory: DeviceMemory::of(device),
            clock: Stopwatch::clock(device),
            dtype: engine.settings().precision.name(),
            shape: settings.shape,
            tokens: (settings.shape.latent().tokens(), settings.shape.audio_frames()),
            steps: settings.steps,
            ceiling_tflops: ceiling / 1e12,
            phases: Vec::new(),
        }
    }
}

impl fmt::Display for BenchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PixelShape { frames, height, width, frame_rate } = self.shape;
        writeln!(
            f,
            "{}, {} {}, {width}x{height}, {frames} frames at {frame_rate}",
            self.model, self.device, self.dtype
        )?;
        if let Some(gpu) = &self.gpu {
            writeln!(f, "{gpu}")?;
        }
        writeln!(f, "{} and {} tokens; matmul {:.2} TFLOP/s", self.tokens.0, self.tokens.1, self.ceiling_tflops)?;
        writeln!(
            f,
            "{:20} {:>11} {:>10} {:>9} {:>9} {:>6}",
            "phase", "seconds", "peak MB", "TFLOP", "TFLOP/s", "share"
        )?;
        let optional =
            |value: Option<f64>, digits: usize| value.map_or("-".into(), |value| format!("{value:.digits$}"));
        for phase in &self.phases {
            writeln!(
                f,
                "{:20} {:>11.4} {:>10} {:>9} {:>9} {:>6}",
                phase.phase,
                phase.median_seconds,
                optional(phase.peak_bytes.map(|bytes| bytes as f64 / 1e6), 0),
                optional(phase.tflop, 3),
                optional(phase.tflops, 3),
                optional(phase.share_of_ceiling, 2),
            )?;
        }
        if self
            .phases
            .iter()
            .any(|phase| [BenchPhase::GuidedStep, BenchPhase::Denoise].map(BenchPhase::name).contains(&phase.phase))
        {
            writeln!(f, "the passes of a guided step share their common prefix of layers, which is counted once")?;
        }
        Ok(())
    }
}
