//! What was measured, as a table and as JSON.

use std::fmt;

use serde::Serialize;

use super::{Phase, Settings};
use crate::device::{Clock, Stopwatch};
use crate::diffusion::patchifier::PixelShape;
use crate::{Card, DeviceMemory, Engine, Precision};

/// One phase.
#[derive(Debug, Clone, Serialize)]
pub struct Measurement {
    /// Which.
    pub phase: &'static str,
    /// Of each run.
    pub seconds: Vec<f64>,
    /// Their median.
    pub median_seconds: f64,
    /// The highest since before the phase's weights were read.
    pub peak_bytes: Option<u64>,
    /// Needed at the least, where they are counted.
    pub tflop: Option<f64>,
    /// Done per second.
    pub tflops: Option<f64>,
    /// As a share of what one large matrix product does.
    pub share_of_ceiling: Option<f64>,
}

impl Measurement {
    /// Of something that the engine has no part in, timed by the caller.
    pub fn of_host(phase: &'static str, seconds: Vec<f64>) -> Self {
        let median_seconds = median(&seconds);
        Self { phase, seconds, median_seconds, peak_bytes: None, tflop: None, tflops: None, share_of_ceiling: None }
    }

    pub(super) fn new(
        phase: Phase,
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

/// All phases, and what they were measured on.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Where the weights come from.
    pub model: String,
    /// cpu or cuda.
    pub device: &'static str,
    /// Which GPU.
    pub card: Option<Card>,
    /// Its memory before anything was loaded.
    pub memory: Option<DeviceMemory>,
    /// What timed the engine's phases; `muxing` is always timed by the host.
    pub clock: Clock,
    /// f32 or bf16.
    pub dtype: &'static str,
    /// Size and length.
    pub shape: PixelShape,
    /// Tokens of picture and sound.
    pub tokens: (usize, usize),
    /// Steps of a denoise.
    pub steps: usize,
    /// TFLOP/s of one large matrix product.
    pub ceiling_tflops: f64,
    /// In the order asked for.
    pub phases: Vec<Measurement>,
}

impl Report {
    /// Before the first phase.
    pub(super) fn new(engine: &Engine, settings: &Settings, ceiling: f64) -> Self {
        let device = &engine.settings().device;
        Self {
            model: engine.models().name(),
            device: if device.is_cuda() { "cuda" } else { "cpu" },
            card: Card::of(device),
            memory: DeviceMemory::of(device),
            clock: Stopwatch::clock(device),
            dtype: match engine.settings().precision {
                Precision::F32 => "f32",
                Precision::Bf16 => "bf16",
            },
            shape: settings.shape,
            tokens: (settings.shape.latent().tokens(), settings.shape.audio_frames()),
            steps: settings.steps,
            ceiling_tflops: ceiling / 1e12,
            phases: Vec::new(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PixelShape { frames, height, width, frame_rate } = self.shape;
        writeln!(
            f,
            "{}, {} {}, {width}x{height}, {frames} frames at {frame_rate}",
            self.model, self.device, self.dtype
        )?;
        if let Some(card) = &self.card {
            writeln!(f, "{card}")?;
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
        if self.phases.iter().any(|phase| [Phase::GuidedStep, Phase::Denoise].map(Phase::name).contains(&phase.phase)) {
            writeln!(f, "a guided step computes and counts once what its passes have in common")?;
        }
        Ok(())
    }
}
