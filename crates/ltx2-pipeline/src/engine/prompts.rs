//! Prompts to contexts. The text encoder is read for prompts that are new, and does not stay.

use std::collections::VecDeque;

use candle_core::{Device, Tensor};
use ltx2_models::text_encoder::{Contexts, Gemma};
use ltx2_types::Phase;

use super::parts::Need;
use super::{Engine, Result, Session};
use crate::plan::Plan;

/// Prompts whose contexts are kept: a conversation's last ones, and the negative prompts between them. At 19B each takes 12 MB
/// in bfloat16.
const KEPT: usize = 16;

/// Contexts of the last prompts, the latest first, in the host's memory: whoever tries another seed or size does not wait for
/// the text encoder, which is larger than all else that a short request reads.
#[derive(Debug, Default)]
pub(super) struct KeptContexts(VecDeque<(String, Contexts)>);

impl KeptContexts {
    /// Of `prompt`, which becomes the latest, on `device`.
    fn get(&mut self, prompt: &str, device: &Device) -> Result<Option<Contexts>> {
        let Some(entry) = self.0.iter().position(|(kept, _)| kept == prompt).and_then(|at| self.0.remove(at)) else {
            return Ok(None);
        };
        let contexts = on(device, &entry.1)?;
        self.0.push_front(entry);
        Ok(Some(contexts))
    }

    fn keep(&mut self, prompt: &str, contexts: &Contexts) -> Result<()> {
        self.0.truncate(KEPT - 1);
        self.0.push_front((prompt.into(), on(&Device::Cpu, contexts)?));
        Ok(())
    }
}

fn on(device: &Device, contexts: &Contexts) -> Result<Contexts> {
    Ok(Contexts { video: contexts.video.to_device(device)?, audio: contexts.audio.to_device(device)? })
}

impl Engine {
    /// Contexts of the prompt and, if the plan has one, of the negative prompt; `bytes` is what encoding them takes.
    pub(super) fn encode_prompts(
        &mut self,
        plan: &Plan,
        bytes: usize,
        session: &mut Session,
    ) -> Result<(Contexts, Option<Contexts>)> {
        session.report(Phase::EncodingPrompt, 0, 1)?;
        let device = self.settings.device.clone();
        let gemma = if plan.enhance_prompt { Some(self.enhance(plan, bytes, session)?) } else { None };
        let prompt = session.enhanced_prompt.as_ref().unwrap_or(&plan.prompt);
        let mut prompts = vec![("positive", prompt)];
        prompts.extend(plan.negative_prompt.as_ref().map(|prompt| ("negative", prompt)));
        let (mut kept, mut new) = (Vec::new(), Vec::new());
        for (label, prompt) in &prompts {
            let tokens = self.models.tokenizer().encode(prompt)?;
            let ids: Vec<i64> = tokens.padded().into_iter().map(i64::from).collect();
            session.context.probe.keep(&format!("tokens.{label}"), &Tensor::new(ids, &Device::Cpu)?)?;
            let contexts = self.contexts.get(prompt, &device)?;
            if contexts.is_none() {
                new.push(tokens.ids().to_vec());
            }
            kept.push(contexts);
        }
        let mut encoded = self.encode(&new, gemma, bytes)?.into_iter();
        let mut contexts = Vec::new();
        for ((label, prompt), kept) in prompts.into_iter().zip(kept) {
            let context = match kept {
                Some(context) => context,
                None => {
                    let context = encoded.next().expect("every prompt that is not kept was encoded");
                    self.contexts.keep(prompt, &context)?;
                    context
                }
            };
            session.context.probe.keep(&format!("context.video.{label}"), &context.video)?;
            session.context.probe.keep(&format!("context.audio.{label}"), &context.audio)?;
            contexts.push(context);
        }
        let mut contexts = contexts.into_iter();
        let positive = contexts.next().expect("the prompt itself");
        Ok((positive, contexts.next()))
    }

    /// Writes the prompt out. That takes all layers for each token, so it gives back the text encoder that it has in memory.
    fn enhance(&mut self, plan: &Plan, bytes: usize, session: &mut Session) -> Result<Gemma> {
        self.prepare(Need::TextEncoder, bytes);
        let gemma = self.models.gemma(self.dtype(), &self.settings.device)?;
        session.enhanced_prompt = Some(self.enhanced(&gemma, &plan.prompt, plan.seed, session.context.watch)?);
        Ok(gemma)
    }

    /// Contexts of tokens, with the text encoder if it is in memory; else a layer of it at a time is.
    fn encode(&mut self, prompts: &[Vec<u32>], gemma: Option<Gemma>, bytes: usize) -> Result<Vec<Contexts>> {
        if prompts.is_empty() {
            return Ok(Vec::new());
        }
        let (dtype, device) = (self.dtype(), self.settings.device.clone());
        let states = match gemma {
            Some(gemma) => prompts.iter().map(|ids| gemma.hidden_states(ids)).collect::<candle_core::Result<_>>()?,
            None => {
                self.prepare(Need::TextEncoder, bytes);
                self.models.hidden_states(prompts, dtype, &device)?
            }
        };
        let kernel = self.settings.attention_kernel;
        let processor = self.models.embeddings_processor(kernel, dtype, &device)?;
        Ok(states.iter().map(|states| processor.forward(states)).collect::<candle_core::Result<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts(value: f64) -> Contexts {
        let of = |width| Tensor::full(value, (1, 2, width), &Device::Cpu).unwrap();
        Contexts { video: of(3), audio: of(2) }
    }

    fn value(contexts: &Contexts) -> f64 {
        contexts.video.mean_all().unwrap().to_scalar().unwrap()
    }

    #[test]
    fn the_prompts_used_last_are_kept() {
        let mut kept = KeptContexts::default();
        for number in 0..KEPT {
            kept.keep(&number.to_string(), &contexts(number as f64)).unwrap();
        }
        assert_eq!(kept.get("0", &Device::Cpu).unwrap().as_ref().map(value), Some(0.0));
        // The one whose use is longest ago goes: 1, as 0 was asked for.
        kept.keep("new", &contexts(-1.0)).unwrap();
        assert!(kept.get("1", &Device::Cpu).unwrap().is_none());
        for (prompt, expected) in [("0", 0.0), ("2", 2.0), ("new", -1.0)] {
            assert_eq!(kept.get(prompt, &Device::Cpu).unwrap().as_ref().map(value), Some(expected), "{prompt}");
        }
        assert_eq!(kept.0.len(), KEPT);
    }
}
