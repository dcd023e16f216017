//! Execution of plans. The engine knows stages, conditioning items and guidance, not the kind of task that they serve.

mod conditioning;
mod decode;
mod enhance;
mod frame_writer;
mod mixing;
mod preview;
mod prompt_cache;
mod prompts;
mod recovery;
mod residency;
mod session;
mod settings;
mod source;
mod stage;

use std::sync::Arc;

use candle_core::{DType, Tensor};
use ltx2_models::AudioVideo;
use ltx2_models::transformer::Transformer;
use ltx2_models::video_vae::VideoDecoder;
use ltx2_types::ValidRequest;

pub use residency::AudioComponents;
pub(crate) use session::NoProbe;
pub use session::{Probe, RunContext, RunReport};
pub use settings::EngineSettings;

use crate::device::{release_memory, warm_up};
use crate::diffusion::noiser::NoiseSource;
use crate::error::{PipelineError, Result};
use crate::model_set::ModelSet;
use crate::plan::{LoraPlan, Plan, SourceOutput, estimate};
use prompt_cache::PromptCache;
use residency::{Residency, Workload};
use session::Session;

/// Latents of both modalities: video `(1, c, f, h, w)`, audio `(1, c, t, bins)`.
type Latents = AudioVideo<Tensor>;

/// Latents and inputs that a stage can start from.
#[derive(Clone, Copy)]
struct StageSources<'a> {
    /// Latents of the previous stage.
    previous: Option<&'a Latents>,
    /// The input that is part of the result.
    output: Option<&'a SourceOutput>,
}

/// A model set with its loaded networks and the contexts of the last prompts.
#[derive(Debug)]
pub struct Engine {
    residency: Residency,
    prompt_cache: PromptCache,
}

impl Engine {
    /// Creates an engine and loads the kernels of the device. Weights are loaded when they are needed.
    ///
    /// # Errors
    /// A kernel cannot be loaded.
    pub fn open(models: ModelSet, settings: EngineSettings) -> Result<Self> {
        warm_up(&settings.device, settings.precision.dtype())?;
        Ok(Self::new(models, settings))
    }

    /// Creates an engine. Kernels and weights are loaded when they are needed.
    pub fn new(models: ModelSet, settings: EngineSettings) -> Self {
        Self { residency: Residency::new(models, settings), prompt_cache: PromptCache::default() }
    }

    /// Returns the model set.
    pub fn models(&self) -> &ModelSet {
        &self.residency.models
    }

    /// Returns the settings.
    pub fn settings(&self) -> &EngineSettings {
        &self.residency.settings
    }

    /// Whether weights are in memory.
    pub fn is_loaded(&self) -> bool {
        self.residency.is_loaded()
    }

    /// Unloads all weights and contexts and releases the device's memory.
    pub fn unload(&mut self) {
        self.residency.unload();
        self.prompt_cache = PromptCache::default();
        release_memory(&self.settings().device);
    }

    /// Returns the transformer with all blocks in memory, loaded if necessary.
    ///
    /// # Errors
    /// A file cannot be read, or the device has too little memory.
    pub fn transformer(&mut self, loras: &[LoraPlan]) -> Result<Arc<Transformer>> {
        self.residency.transformer(loras)
    }

    /// Returns the video decoder, loaded if necessary.
    ///
    /// # Errors
    /// A file cannot be read, or the device has too little memory.
    pub fn video_decoder(&mut self) -> Result<Arc<VideoDecoder>> {
        self.residency.video_decoder()
    }

    /// Returns the audio decoder and the vocoder, loaded if necessary.
    ///
    /// # Errors
    /// A file cannot be read, or the device has too little memory.
    pub fn audio(&mut self) -> Result<Arc<AudioComponents>> {
        self.residency.audio()
    }

    /// Returns the noise of `seed`.
    pub fn noise(&self, seed: u64) -> NoiseSource {
        NoiseSource::of_seed(seed, self.settings().noise_multiprocessors)
    }

    /// Runs `plan`. After an out-of-memory error of the device the engine is unloaded and can be used again.
    ///
    /// # Errors
    /// An input, a model file, a computation or the output failed, or the run was cancelled.
    pub fn run(&mut self, plan: &Plan, context: RunContext<'_>) -> Result<RunReport> {
        self.run_plan(plan, context).map_err(|error| self.recover(error, None))
    }

    /// Runs the plan of `request`. An out-of-memory error names smaller requests that would fit.
    pub(crate) fn run_request(
        &mut self,
        plan: &Plan,
        context: RunContext<'_>,
        request: &ValidRequest,
    ) -> Result<RunReport> {
        self.run_plan(plan, context).map_err(|error| self.recover(error, Some(request)))
    }

    fn run_plan(&mut self, plan: &Plan, context: RunContext<'_>) -> Result<RunReport> {
        let mut session = Session::new(context, plan.steps());
        let memory = estimate(plan, &self.models().weight_sizes(self.dtype()), self.settings().execution());
        let contexts = self.encode_prompts(plan, memory.encoding_prompt, &mut session)?;
        let mut latents: Option<Latents> = None;
        let mut audio = None;
        for (index, (stage, contexts)) in plan.stages.iter().zip(&contexts).enumerate() {
            // The loaded transformer is reused, or its memory is.
            let required = memory.denoising.saturating_sub(self.residency.transformer_bytes());
            self.residency.prepare(Workload::Denoising, required);
            let sources = StageSources { previous: latents.as_ref(), output: plan.output.source.as_ref() };
            let denoised = self.run_stage((index, stage), sources, contexts, memory.denoising, &mut session)?;
            if plan.output.audio_stage == Some(index) {
                audio = Some(denoised.audio.clone());
            }
            latents = Some(denoised);
        }
        let latents = latents.ok_or_else(|| PipelineError::Internal("the plan has no stage".into()))?;
        self.residency.prepare(Workload::Decoding, memory.decoding);
        self.decode(plan, &latents.video, audio.as_ref(), &mut session)?;
        Ok(RunReport { enhanced_prompt: session.enhanced_prompt })
    }

    fn dtype(&self) -> DType {
        self.settings().precision.dtype()
    }
}
