//! What a run is given, and what sees it.

use candle_core::Tensor;
use ltx2_types::{Output, Phase, Progress, RgbImage, Watch};

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

/// What a run is given beside its plan, and where its results go.
pub(crate) struct Session<'a> {
    pub images: &'a [RgbImage],
    pub noise: NoiseSource,
    pub output: &'a mut dyn Output,
    pub watch: &'a dyn Watch,
    pub probe: &'a mut dyn Probe,
}

impl Session<'_> {
    /// Tells how far the run is; fails if it is to stop.
    pub(super) fn report(&self, phase: Phase, step: usize, total: usize) -> Result<()> {
        if self.watch.is_cancelled() {
            return Err(PipelineError::Cancelled);
        }
        self.watch.progress(Progress { phase, step: step as u32, total_steps: total as u32 });
        Ok(())
    }
}
