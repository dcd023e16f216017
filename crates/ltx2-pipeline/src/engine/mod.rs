//! Runs a plan. Knows stages, conditioning items and guidance; not which kind of task they came from.

mod decode;
mod enhance;
mod parts;
mod preview;
mod prompts;
mod session;
mod stage;
mod trouble;

use candle_core::{DType, Device, Tensor};
use ltx2_models::AttentionKernel;

pub(crate) use session::NoProbe;
pub use session::{Probe, RunContext, RunReport};
use session::{Session, Steps};

use crate::diffusion::noiser::NoiseSource;
use crate::diffusion::philox::DEFAULT_MULTIPROCESSORS;
use crate::plan::{Computing, Plan, estimate};
use crate::{ModelSet, PipelineError, Precision, device};
use parts::{Need, Parts};
use prompts::KeptContexts;

type Result<T> = std::result::Result<T, PipelineError>;

/// How an engine computes, for all its runs.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// What it computes on.
    pub device: Device,
    /// dtype of weights and activations.
    pub precision: Precision,
    /// The card whose noise a seed means, by its multiprocessors.
    pub noise_multiprocessors: usize,
    /// Kernel of the attention layers on CUDA.
    pub attention_kernel: AttentionKernel,
}

impl EngineSettings {
    /// The noise of an H100 or H200.
    pub fn new(device: Device, precision: Precision) -> Self {
        let attention_kernel = AttentionKernel::default();
        Self { device, precision, noise_multiprocessors: DEFAULT_MULTIPROCESSORS, attention_kernel }
    }

    /// What memory depends on.
    pub(crate) fn computing(&self) -> Computing {
        let device = if self.device.is_cuda() { ltx2_types::Device::Cuda } else { ltx2_types::Device::Cpu };
        Computing { device, precision: self.precision }
    }
}

/// What a stage hands on.
struct Latents {
    /// `(1, c, f, h, w)`.
    video: Tensor,
    /// `(1, c, t, bins)`.
    audio: Tensor,
}

/// A model set with the parts of it that are in memory, and the last prompts' contexts.
#[derive(Debug)]
pub struct Engine {
    models: ModelSet,
    settings: EngineSettings,
    parts: Parts,
    contexts: KeptContexts,
}

impl Engine {
    /// Loads the device's kernels; weights are loaded when they are needed.
    pub fn open(models: ModelSet, settings: EngineSettings) -> Result<Self> {
        device::warm_up(&settings.device, settings.precision.dtype())?;
        Ok(Self::new(models, settings))
    }

    /// Nothing is loaded yet, the device's kernels neither.
    pub fn new(models: ModelSet, settings: EngineSettings) -> Self {
        Self { models, settings, parts: Parts::default(), contexts: KeptContexts::default() }
    }

    /// The model.
    pub fn models(&self) -> &ModelSet {
        &self.models
    }

    /// What it computes on.
    pub fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// Whether weights are in memory.
    pub fn is_loaded(&self) -> bool {
        self.parts.is_loaded()
    }

    /// Drops all weights and contexts, and gives the device's memory back.
    pub fn unload(&mut self) {
        self.parts = Parts::default();
        self.contexts = KeptContexts::default();
        device::give_back(&self.settings.device);
    }

    /// The seed's noise.
    pub fn noise(&self, seed: u64) -> NoiseSource {
        NoiseSource::of_seed(seed, self.settings.noise_multiprocessors)
    }

    /// Runs `plan`. After an out-of-memory error of the device the engine is unloaded and can be used again.
    ///
    /// # Errors
    /// An input, a model file, a computation or the output failed, or the run was cancelled.
    pub fn run(&mut self, plan: &Plan, context: RunContext<'_>) -> Result<RunReport> {
        self.run_plan(plan, context).map_err(|error| self.recover(error))
    }

    /// Classifies an error of the device and makes the engine usable again where possible.
    pub fn recover(&mut self, error: PipelineError) -> PipelineError {
        self.settled(error, None)
    }

    /// Runs `plan` without recovery from errors.
    pub(crate) fn run_plan(&mut self, plan: &Plan, context: RunContext<'_>) -> Result<RunReport> {
        let mut session = Session { context, steps: Steps::default(), enhanced_prompt: None };
        self.run_session(plan, &mut session)?;
        Ok(RunReport { enhanced_prompt: session.enhanced_prompt })
    }

    fn run_session(&mut self, plan: &Plan, session: &mut Session) -> Result<()> {
        session.steps = Steps { done: 0, total: plan.stages.iter().map(|stage| stage.sigmas.len() - 1).sum() };
        let memory = estimate(plan, &self.models, self.settings.computing());
        let contexts = self.encode_prompts(plan, memory.encoding_prompt, session)?;
        let mut latents = None;
        for (index, stage) in plan.stages.iter().enumerate() {
            // The memory of a transformer that is there will be its, or the next one's.
            self.prepare(Need::Transformer, memory.denoising.saturating_sub(self.transformer_bytes()));
            latents = Some(self.run_stage((index, stage), latents, &contexts, memory.denoising, session)?);
        }
        let latents = latents.ok_or_else(|| PipelineError::Request("the plan has no stage".into()))?;
        self.prepare(Need::Autoencoders, memory.decoding);
        self.decode(plan, &latents, session)
    }

    fn dtype(&self) -> DType {
        self.settings.precision.dtype()
    }
}
