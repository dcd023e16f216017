//! Autoregressive text generation with Gemma (`Gemma3ForConditionalGeneration` without images).

use candle_core::Result;

use super::gemma::{Gemma, KvCache};

/// A text under generation, with its key-value cache.
#[derive(Debug)]
pub struct DecodeSession<'a> {
    gemma: &'a Gemma,
    cache: KvCache,
}

impl Gemma {
    /// Starts a session with an empty text.
    pub fn decode_session(&self) -> DecodeSession<'_> {
        DecodeSession { gemma: self, cache: KvCache::default() }
    }
}

impl DecodeSession<'_> {
    /// Appends `ids` to the text and returns the logits of the next token, one per vocabulary entry.
    ///
    /// # Errors
    /// Also if `ids` is empty.
    pub fn append(&mut self, ids: &[u32]) -> Result<Vec<f32>> {
        if ids.is_empty() {
            candle_core::bail!("cannot decode from no tokens: append at least one");
        }
        self.gemma.next_logits(ids, &mut self.cache)
    }
}
