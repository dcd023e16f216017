//! What a run is given, and what sees it.

use candle_core::Tensor;
use ltx2_types::{Inputs, Output, Phase, Progress, Watch};

use super::Result;
use crate::PipelineError;
use crate::diffusion::noiser::NoiseSource;

/// Sees the tensors of a run as they appear, under the names of the reference traces.
pub trait Probe {
    /// Called once for each; `noise`, `image` and `image_latent` come several times, to be counted.
    fn keep(&mut self, name: &str, tensor: &Tensor) -> candle_core::Result<()>;
}

/// Sees nothing.
pub(crate) struct NoProbe;

impl Probe for NoProbe {
    fn keep(&mut self, _: &str, _: &Tensor) -> candle_core::Result<()> {
        Ok(())
    }
}

/// Denoising steps of all stages together, so that progress never goes back.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Steps {
    pub done: usize,
    pub total: usize,
}

/// Inputs and observers of a run.
pub struct RunContext<'a> {
    /// Inputs of the task, decoded on demand.
    pub inputs: &'a mut dyn Inputs,
    /// Noise of the run.
    pub noise: NoiseSource,
    /// Receiver of the frames and the audio.
    pub output: &'a mut dyn Output,
    /// Receiver of progress and previews.
    pub watch: &'a dyn Watch,
    /// Receiver of intermediate tensors.
    pub probe: &'a mut dyn Probe,
}

/// Summary of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunReport {
    /// The enhanced prompt, if the plan asked for one.
    pub enhanced_prompt: Option<String>,
}

/// State of a run.
pub(super) struct Session<'a> {
    pub context: RunContext<'a>,
    pub steps: Steps,
    pub enhanced_prompt: Option<String>,
}

impl Session<'_> {
    /// Tells that a stage's transformer is about to be read; later stages' is part of denoising.
    pub(super) fn report_loading(&self) -> Result<()> {
        if self.steps.done == 0 { self.report(Phase::Loading, 0, 1) } else { self.report_steps() }
    }

    /// Tells how many denoising steps are done.
    pub(super) fn report_steps(&self) -> Result<()> {
        self.report(Phase::Denoising, self.steps.done, self.steps.total)
    }

    /// Tells how far the run is; fails if it is to stop.
    pub(super) fn report(&self, phase: Phase, step: usize, total: usize) -> Result<()> {
        if self.context.watch.is_cancelled() {
            return Err(PipelineError::Cancelled);
        }
        self.context.watch.progress(Progress { phase, step: step as u32, total_steps: total as u32 });
        Ok(())
    }
}
