//! `ltx2 bench`.

#[cfg(feature = "media")]
mod muxing;

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, ensure};
use ltx2_devtools::bench::{BenchPhase, BenchSettings, measure};
use ltx2_devtools::{PublishedModel, synthetic_models};
use ltx2_pipeline::Engine;
use ltx2_pipeline::diffusion::patchifier::PixelShape;

use crate::models::ModelArguments;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    models: ModelArguments,
    /// Published architecture at full size with synthetic weights instead of --models: ltx-2-19b or ltx-2.3-22b.
    #[arg(long)]
    base: Option<PublishedModel>,
    /// Phase to measure. Can be repeated [default: all but denoise and denoise-unguided].
    #[arg(long, value_name = "PHASE")]
    phase: Vec<MeasuredPhase>,
    /// Width in pixels, a multiple of 32.
    #[arg(long, default_value_t = 768)]
    width: usize,
    /// Height in pixels, a multiple of 32.
    #[arg(long, default_value_t = 512)]
    height: usize,
    /// Number of frames, 8k + 1.
    #[arg(long, default_value_t = 121)]
    frames: usize,
    /// Frames per second.
    #[arg(long, default_value_t = 24.0)]
    rate: f64,
    /// Denoising steps.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Prompt length in tokens, at most 1024.
    #[arg(long, default_value_t = 256)]
    prompt_tokens: usize,
    /// Number of untimed warm-up runs.
    #[arg(long, default_value_t = 1)]
    warm_up: usize,
    /// Number of timed runs; the median is reported.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// File for the results as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let shape = arguments.shape()?;
    let models = match arguments.base {
        Some(base) => synthetic_models(base, 0)?,
        None => arguments.models.open()?,
    };
    let mut engine = Engine::open(models, arguments.models.engine_settings()?)?;
    let settings = BenchSettings {
        shape,
        steps: arguments.steps as usize,
        prompt_tokens: arguments.prompt_tokens,
        warm_up: arguments.warm_up,
        runs: arguments.runs as usize,
    };
    let measured = arguments.measured();
    let phases: Vec<BenchPhase> = measured.iter().filter_map(|measured| measured.phase()).collect();
    #[cfg_attr(not(feature = "media"), expect(unused_mut, reason = "only the engine is measured"))]
    let mut report = measure(&mut engine, &settings, &phases)?;
    #[cfg(feature = "media")]
    if measured.contains(&MeasuredPhase::Muxing) {
        report.phases.push(muxing::measure(&settings)?);
    }
    print!("{report}");
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

impl Arguments {
    fn shape(&self) -> anyhow::Result<PixelShape> {
        for (name, side) in [("width", self.width), ("height", self.height)] {
            ensure!(
                side >= 64 && side.is_multiple_of(32),
                "{name} is {side}, but it must be a multiple of 32 from 64 on"
            );
        }
        ensure!(self.frames % 8 == 1, "frames is {}, but it must be 8k + 1", self.frames);
        ensure!(self.rate > 0.0, "rate is {}, but it must be positive", self.rate);
        Ok(PixelShape { frames: self.frames, height: self.height, width: self.width, frame_rate: self.rate })
    }

    fn measured(&self) -> Vec<MeasuredPhase> {
        if !self.phase.is_empty() {
            return self.phase.clone();
        }
        let long = [BenchPhase::Denoise, BenchPhase::DenoiseUnguided].map(MeasuredPhase::Engine);
        MeasuredPhase::all().into_iter().filter(|measured| !long.contains(measured)).collect()
    }
}

/// A measurable phase: one of the engine, or muxing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MeasuredPhase {
    Engine(BenchPhase),
    #[cfg(feature = "media")]
    Muxing,
}

impl MeasuredPhase {
    fn all() -> Vec<Self> {
        let engine = BenchPhase::ALL.into_iter().map(Self::Engine);
        #[cfg(feature = "media")]
        let engine = engine.chain([Self::Muxing]);
        engine.collect()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Engine(phase) => phase.name(),
            #[cfg(feature = "media")]
            Self::Muxing => muxing::NAME,
        }
    }

    fn phase(self) -> Option<BenchPhase> {
        match self {
            Self::Engine(phase) => Some(phase),
            #[cfg(feature = "media")]
            Self::Muxing => None,
        }
    }
}

impl FromStr for MeasuredPhase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::all().into_iter().map(Self::name).collect::<Vec<_>>().join(", ");
        let known = Self::all().into_iter().find(|measured| measured.name() == text);
        known.ok_or_else(|| format!("phase is {text}, but it must be one of {}", names()))
    }
}
