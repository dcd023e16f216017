//! Runs a plan. Knows stages, conditioning items and guidance; not which kind of task they came from.

mod decode;
mod enhance;
mod parts;
mod preview;
mod session;
mod stage;
mod trouble;

use candle_core::{DType, Device, Tensor};
use ltx2_models::text_encoder::Contexts;
use ltx2_types::Phase;

pub use session::Probe;
pub(crate) use session::{NoProbe, Session, Steps};

use crate::diffusion::noiser::NoiseSource;
use crate::diffusion::philox::DEFAULT_MULTIPROCESSORS;
use crate::plan::{Plan, estimate};
use crate::{ModelSet, PipelineError, Precision, device};
use parts::{Need, Parts};

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
}

impl EngineSettings {
    /// The noise of an H100 or H200.
    pub fn new(device: Device, precision: Precision) -> Self {
        Self { device, precision, noise_multiprocessors: DEFAULT_MULTIPROCESSORS }
    }
}

/// What a stage hands on.
struct Latents {
    /// `(1, c, f, h, w)`.
    video: Tensor,
    /// `(1, c, t, bins)`.
    audio: Tensor,
}

/// A model set with the parts of it that are in memory.
#[derive(Debug)]
pub struct Engine {
    models: ModelSet,
    settings: EngineSettings,
    parts: Parts,
}

impl Engine {
    /// Loads the device's kernels; weights are loaded when they are needed.
    pub fn open(models: ModelSet, settings: EngineSettings) -> Result<Self> {
        device::warm_up(&settings.device, settings.precision.dtype())?;
        Ok(Self::new(models, settings))
    }

    /// Nothing is loaded yet, the device's kernels neither.
    pub fn new(models: ModelSet, settings: EngineSettings) -> Self {
        Self { models, settings, parts: Parts::default() }
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

    /// Drops all weights, and gives the device's memory back.
    pub fn unload(&mut self) {
        self.parts = Parts::default();
        device::give_back(&self.settings.device);
    }

    /// The seed's noise.
    pub(crate) fn noise(&self, seed: u64) -> NoiseSource {
        NoiseSource::of_seed(seed, self.settings.noise_multiprocessors)
    }

    /// Runs `plan` to its end.
    pub(crate) fn run(&mut self, plan: &Plan, session: &mut Session) -> Result<()> {
        session.steps = Steps { done: 0, total: plan.stages.iter().map(|stage| stage.sigmas.len() - 1).sum() };
        let memory = estimate(plan, &self.models, self.settings.precision);
        self.prepare(Need::TextEncoder, memory.encoding_prompt);
        let contexts = self.encode_prompts(plan, session)?;
        let mut latents = None;
        for (index, stage) in plan.stages.iter().enumerate() {
            let loaded = self.has_transformer(&stage.loras).then(|| self.models.parameters(self.dtype()).transformer);
            self.prepare(Need::Transformer, memory.denoising.saturating_sub(loaded.unwrap_or(0)));
            latents = Some(self.run_stage((index, stage), latents, &contexts, session)?);
        }
        let latents = latents.ok_or_else(|| PipelineError::Request("the plan has no stage".into()))?;
        self.prepare(Need::Autoencoders, memory.decoding);
        self.decode(plan, &latents, session)
    }

    /// Contexts of the prompt and, if the plan has one, of the negative prompt. The text encoder is gone afterwards.
    fn encode_prompts(&self, plan: &Plan, session: &mut Session) -> Result<(Contexts, Option<Contexts>)> {
        let (dtype, device) = (self.dtype(), &self.settings.device);
        session.report(Phase::EncodingPrompt, 0, 1)?;
        let gemma = self.models.gemma(dtype, device)?;
        if plan.enhance_prompt {
            session.enhanced_prompt = Some(self.enhanced(&gemma, &plan.prompt, plan.seed, session.watch)?);
        }
        let prompt = session.enhanced_prompt.clone().unwrap_or_else(|| plan.prompt.clone());
        let mut prompts = vec![("positive", &prompt)];
        prompts.extend(plan.negative_prompt.as_ref().map(|prompt| ("negative", prompt)));
        let mut states = Vec::new();
        for (label, prompt) in &prompts {
            let tokens = self.models.tokenizer().encode(prompt)?;
            let ids: Vec<i64> = tokens.padded().into_iter().map(i64::from).collect();
            session.probe.keep(&format!("tokens.{label}"), &Tensor::new(ids, &Device::Cpu)?)?;
            states.push(gemma.hidden_states(tokens.ids())?);
        }
        drop(gemma);
        let processor = self.models.embeddings_processor(dtype, device)?;
        let mut contexts = Vec::new();
        for ((label, _), states) in prompts.iter().zip(states) {
            let context = processor.forward(&states)?;
            session.probe.keep(&format!("context.video.{label}"), &context.video)?;
            session.probe.keep(&format!("context.audio.{label}"), &context.audio)?;
            contexts.push(context);
        }
        let mut contexts = contexts.into_iter();
        let positive = contexts.next().expect("the prompt itself");
        Ok((positive, contexts.next()))
    }

    fn dtype(&self) -> DType {
        self.settings.precision.dtype()
    }
}
