//! State of a run, and its inputs and observers.

use candle_core::Tensor;
use ltx2_types::{Inputs, Output, Phase, Progress, Watch};

use crate::diffusion::noiser::NoiseSource;
use crate::error::{PipelineError, Result};

/// Receiver of the intermediate tensors of a run, under the names of the reference traces.
pub trait Probe {
    /// Takes a tensor. `noise`, `image` and `image_latent` are reported several times per run.
    ///
    /// # Errors
    /// The tensor cannot be kept; the run ends.
    fn keep(&mut self, name: &str, tensor: &Tensor) -> candle_core::Result<()>;
}

/// Probe that ignores all tensors.
pub(crate) struct NoProbe;

impl Probe for NoProbe {
    fn keep(&mut self, _: &str, _: &Tensor) -> candle_core::Result<()> {
        Ok(())
    }
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

/// Denoising steps of all stages together, so that progress never decreases.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steps {
    pub done: usize,
    pub total: usize,
}

/// State of a run.
pub(super) struct Session<'a> {
    pub context: RunContext<'a>,
    pub steps: Steps,
    /// The enhanced prompt, once it is known.
    pub enhanced_prompt: Option<String>,
}

impl<'a> Session<'a> {
    /// Creates the state of a run of `total` denoising steps.
    pub(super) fn new(context: RunContext<'a>, total: usize) -> Self {
        Self { context, steps: Steps { done: 0, total }, enhanced_prompt: None }
    }

    /// Passes a tensor to the probe.
    pub(super) fn keep(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        Ok(self.context.probe.keep(name, tensor)?)
    }

    /// Reports that a stage loads its transformer; loading for later stages is part of denoising.
    pub(super) fn report_loading(&self) -> Result<()> {
        if self.steps.done == 0 { self.report(Phase::Loading, 0, 1) } else { self.report_steps() }
    }

    /// Reports the completed denoising steps.
    pub(super) fn report_steps(&self) -> Result<()> {
        self.report(Phase::Denoising, self.steps.done, self.steps.total)
    }

    /// Checks that the run goes on.
    ///
    /// # Errors
    /// The run is cancelled.
    pub(super) fn check_cancelled(&self) -> Result<()> {
        if self.context.watch.is_cancelled() { Err(PipelineError::Cancelled) } else { Ok(()) }
    }

    /// Reports progress.
    ///
    /// # Errors
    /// The run is cancelled.
    pub(super) fn report(&self, phase: Phase, step: usize, total: usize) -> Result<()> {
        self.check_cancelled()?;
        self.context.watch.progress(Progress { phase, step: step as u32, total_steps: total as u32 });
        Ok(())
    }
}
