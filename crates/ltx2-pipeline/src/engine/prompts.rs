//! Prompts to contexts. The text encoder is read for prompts that are new, and goes again.

use std::collections::VecDeque;

use candle_core::{Device, Tensor};
use ltx2_models::text_encoder::{Contexts, Gemma};
use ltx2_types::Phase;

use super::parts::{Need, loaded};
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

/// How far a prompt is.
enum Prompt {
    Kept(Contexts),
    /// What the text encoder makes of it.
    New(Vec<Tensor>),
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
        let mut gemma = None;
        if plan.enhance_prompt {
            let gemma = self.text_encoder(&mut gemma, bytes)?;
            session.enhanced_prompt = Some(self.enhanced(gemma, &plan.prompt, plan.seed, session.watch)?);
        }
        let prompt = session.enhanced_prompt.as_ref().unwrap_or(&plan.prompt);
        let mut prompts = vec![("positive", prompt)];
        prompts.extend(plan.negative_prompt.as_ref().map(|prompt| ("negative", prompt)));
        let mut read = Vec::new();
        for (label, prompt) in prompts {
            let tokens = self.models.tokenizer().encode(prompt)?;
            let ids: Vec<i64> = tokens.padded().into_iter().map(i64::from).collect();
            session.probe.keep(&format!("tokens.{label}"), &Tensor::new(ids, &Device::Cpu)?)?;
            let so_far = match self.contexts.get(prompt, &self.settings.device)? {
                Some(contexts) => Prompt::Kept(contexts),
                None => Prompt::New(self.text_encoder(&mut gemma, bytes)?.hidden_states(tokens.ids())?),
            };
            read.push((label, prompt, so_far));
        }
        drop(gemma);
        let mut processor = None;
        let mut contexts = Vec::new();
        for (label, prompt, so_far) in read {
            let context = match so_far {
                Prompt::Kept(contexts) => contexts,
                Prompt::New(states) => {
                    let load = || self.models.embeddings_processor(self.dtype(), &self.settings.device);
                    let context = loaded(&mut processor, load)?.forward(&states)?;
                    self.contexts.keep(prompt, &context)?;
                    context
                }
            };
            session.probe.keep(&format!("context.video.{label}"), &context.video)?;
            session.probe.keep(&format!("context.audio.{label}"), &context.audio)?;
            contexts.push(context);
        }
        let mut contexts = contexts.into_iter();
        let positive = contexts.next().expect("the prompt itself");
        Ok((positive, contexts.next()))
    }

    /// The text encoder in `slot`, read if it is not there yet.
    fn text_encoder<'a>(&mut self, slot: &'a mut Option<Gemma>, bytes: usize) -> Result<&'a Gemma> {
        if slot.is_none() {
            self.prepare(Need::TextEncoder, bytes);
        }
        Ok(loaded(slot, || self.models.gemma(self.dtype(), &self.settings.device))?)
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
