//! Writing a prompt out into the description of a shot, by the text encoder's own language model.

mod token_sampler;

use ltx2_models::text_encoder::Gemma;
use ltx2_types::Watch;

use self::token_sampler::TokenSampler;
use super::{Engine, Result};
use crate::PipelineError;

/// Most tokens of the description, as in the official pipelines.
const MOST_TOKENS: usize = 512;

/// What the language model is told to do with the prompt.
const INSTRUCTION: &str = "\
You turn short ideas for a video into the description of one shot, for a model that makes picture and sound from text. \
Write one paragraph of at most 150 words, in the present tense and in the language of the idea. Keep everything that the \
idea says: who, what, where, quoted speech word for word. Then add what a camera and a microphone would take in from the \
first second to the last: how the subject looks and moves, in order; the place and the light; how the camera is set and \
moves; voices, sounds and music. Describe only what can be seen and heard. Answer with the paragraph alone.";

impl Engine {
    /// The description that `gemma` makes of `prompt`; a seed means one description.
    pub(super) fn enhanced(&self, gemma: &Gemma, prompt: &str, seed: u64, watch: &dyn Watch) -> Result<String> {
        let tokenizer = self.models.tokenizer();
        let mut next = tokenizer.encode_turn(&format!("{INSTRUCTION}\n\nThe idea: {}", prompt.trim()))?;
        let (mut text, mut sampler) = (gemma.decode_session(), TokenSampler::new(seed));
        let mut written = Vec::new();
        while written.len() < MOST_TOKENS {
            if watch.is_cancelled() {
                return Err(PipelineError::Cancelled);
            }
            let token = sampler.choose(&text.append(&next)?);
            if tokenizer.ends_turn(token) {
                break;
            }
            written.push(token);
            next = vec![token];
        }
        let description = tokenizer.decode(&written)?.trim().to_owned();
        if description.is_empty() {
            tracing::warn!("the text encoder had nothing to add to the prompt, which stays as it is");
            return Ok(prompt.into());
        }
        Ok(description)
    }
}
