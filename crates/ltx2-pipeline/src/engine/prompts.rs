//! Encoding of prompts. The text encoder is loaded for new prompts only and unloaded afterwards.

use candle_core::{Device, Tensor};
use ltx2_models::text_encoder::{Contexts, Gemma};
use ltx2_types::Phase;

use super::Engine;
use super::residency::Workload;
use super::session::Session;
use crate::error::{PipelineError, Result};
use crate::plan::{LoraPlan, Plan};

/// Contexts of the prompts of a stage.
#[derive(Clone)]
pub(super) struct RunContexts {
    /// Contexts of the prompt.
    pub positive: Contexts,
    /// Contexts of the negative prompt, if guidance uses one.
    pub negative: Option<Contexts>,
}

impl Engine {
    /// Returns the contexts of the plan's prompts for each stage. `bytes` is the memory that encoding them needs.
    ///
    /// LoRAs can change the networks that compute contexts. Stages with the same such LoRAs share their contexts.
    pub(super) fn encode_prompts(
        &mut self,
        plan: &Plan,
        bytes: usize,
        session: &mut Session,
    ) -> Result<Vec<RunContexts>> {
        session.report(Phase::EncodingPrompt, 0, 1)?;
        let loras = plan.stages.iter().map(|stage| self.models().context_loras(&stage.loras));
        let loras = loras.collect::<std::result::Result<Vec<_>, _>>()?;
        let mut gemma = if plan.enhance_prompt { Some(self.enhance(plan, bytes, session)?) } else { None };
        let prompt = session.enhanced_prompt.clone().unwrap_or_else(|| plan.prompt.clone());
        let mut prompts = vec![("positive", prompt)];
        prompts.extend(plan.negative_prompt.clone().map(|prompt| ("negative", prompt)));
        let mut stages: Vec<RunContexts> = Vec::new();
        for (index, stage_loras) in loras.iter().enumerate() {
            let same = loras[..index].iter().position(|earlier| earlier == stage_loras);
            stages.push(match same {
                Some(earlier) => stages[earlier].clone(),
                None => self.run_contexts((&prompts, stage_loras), gemma.take(), bytes, session)?,
            });
        }
        Ok(stages)
    }

    /// Returns the contexts of the prompts with LoRAs.
    fn run_contexts(
        &mut self,
        (prompts, loras): (&[(&str, String)], &[LoraPlan]),
        gemma: Option<Gemma>,
        bytes: usize,
        session: &mut Session,
    ) -> Result<RunContexts> {
        let mut contexts = self.contexts((prompts, loras), gemma, bytes, session)?.into_iter();
        for ((label, _), contexts) in prompts.iter().zip(contexts.as_slice()) {
            session.keep(&format!("context.video.{label}"), &contexts.video)?;
            session.keep(&format!("context.audio.{label}"), &contexts.audio)?;
        }
        let positive = contexts.next().ok_or_else(|| PipelineError::Internal("no prompt was encoded".into()))?;
        Ok(RunContexts { positive, negative: contexts.next() })
    }

    /// Returns the contexts of labelled prompts with LoRAs, from the cache or the text encoder.
    fn contexts(
        &mut self,
        (prompts, loras): (&[(&str, String)], &[LoraPlan]),
        gemma: Option<Gemma>,
        bytes: usize,
        session: &mut Session,
    ) -> Result<Vec<Contexts>> {
        let device = self.settings().device.clone();
        let (mut cached, mut new) = (Vec::new(), Vec::new());
        for (label, prompt) in prompts {
            let tokens = self.models().tokenizer().encode(prompt)?;
            let ids: Vec<i64> = tokens.padded().into_iter().map(i64::from).collect();
            session.keep(&format!("tokens.{label}"), &Tensor::new(ids, &Device::Cpu)?)?;
            let contexts = self.prompt_cache.get(prompt, loras, &device)?;
            if contexts.is_none() {
                new.push(tokens.ids().to_vec());
            }
            cached.push(contexts);
        }
        let mut encoded = self.encode((&new, loras), gemma, bytes)?.into_iter();
        let mut all = Vec::new();
        for ((_, prompt), cached) in prompts.iter().zip(cached) {
            all.push(match cached {
                Some(contexts) => contexts,
                None => {
                    let contexts = encoded.next().expect("every prompt that is not cached was encoded");
                    self.prompt_cache.insert(prompt, loras, &contexts)?;
                    contexts
                }
            });
        }
        Ok(all)
    }

    /// Enhances the prompt. Generating text needs all layers for each token, so the whole text encoder is loaded; it is
    /// returned for the encoding that follows.
    fn enhance(&mut self, plan: &Plan, bytes: usize, session: &mut Session) -> Result<Gemma> {
        self.residency.prepare(Workload::EncodingPrompt, bytes);
        let gemma = self.models().gemma(self.dtype(), &self.settings().device)?;
        let enhanced = self.enhanced_prompt(&gemma, &plan.prompt, plan.seed, session.context.watch)?;
        session.enhanced_prompt = Some(enhanced);
        Ok(gemma)
    }

    /// Returns the contexts of token ids. Without `gemma` the text encoder is streamed layer by layer.
    fn encode(
        &mut self,
        (prompts, loras): (&[Vec<u32>], &[LoraPlan]),
        gemma: Option<Gemma>,
        bytes: usize,
    ) -> Result<Vec<Contexts>> {
        if prompts.is_empty() {
            return Ok(Vec::new());
        }
        let (dtype, device) = (self.dtype(), self.settings().device.clone());
        let states = match gemma {
            Some(gemma) => prompts.iter().map(|ids| gemma.hidden_states(ids)).collect::<candle_core::Result<_>>()?,
            None => {
                self.residency.prepare(Workload::EncodingPrompt, bytes);
                self.models().hidden_states(prompts, dtype, &device)?
            }
        };
        let kernel = self.settings().attention_kernel;
        let processor = self.models().embeddings_processor(loras, kernel, dtype, &device)?;
        Ok(states.iter().map(|states| processor.forward(states)).collect::<candle_core::Result<_>>()?)
    }
}
