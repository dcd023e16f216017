//! Prompt enhancement: the text encoder's language model expands a prompt into the description of a shot.

mod token_sampler;

use ltx2_models::text_encoder::Gemma;
use ltx2_types::Watch;

use super::Engine;
use crate::error::{PipelineError, Result};
use token_sampler::TokenSampler;

/// Maximum number of generated tokens, as in the official pipelines.
const MAX_NEW_TOKENS: usize = 512;

/// Instruction that precedes the prompt.
const INSTRUCTION: &str = "\
You turn short ideas for a video into the description of one shot, for a model that makes picture and sound from text. \
Write one paragraph of at most 150 words, in the present tense and in the language of the idea. Keep everything that the \
idea says: who, what, where, quoted speech word for word. Then add what a camera and a microphone would take in from the \
first second to the last: how the subject looks and moves, in order; the place and the light; how the camera is set and \
moves; voices, sounds and music. Describe only what can be seen and heard. Answer with the paragraph alone.";

impl Engine {
    /// Returns the description that `gemma` generates for `prompt`; it depends on `seed`. An empty description leaves
    /// the prompt as it is.
    pub(super) fn enhanced_prompt(&self, gemma: &Gemma, prompt: &str, seed: u64, watch: &dyn Watch) -> Result<String> {
        let tokenizer = self.models().tokenizer();
        let mut next = tokenizer.encode_turn(&format!("{INSTRUCTION}\n\nThe idea: {}", prompt.trim()))?;
        let (mut session, mut sampler) = (gemma.decode_session(), TokenSampler::new(seed));
        let mut generated = Vec::new();
        while generated.len() < MAX_NEW_TOKENS {
            if watch.is_cancelled() {
                return Err(PipelineError::Cancelled);
            }
            let token = sampler.choose(&session.append(&next)?);
            if tokenizer.ends_turn(token) {
                break;
            }
            generated.push(token);
            next = vec![token];
        }
        let description = tokenizer.decode(&generated)?.trim().to_owned();
        if description.is_empty() {
            tracing::warn!("prompt enhancement returned no text; using the prompt as it is");
            return Ok(prompt.into());
        }
        Ok(description)
    }
}
