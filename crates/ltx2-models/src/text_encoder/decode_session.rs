//! Gemma writing a text on, token by token (`Gemma3ForConditionalGeneration`, text alone).

use candle_core::Result;

use super::Gemma;
use super::gemma::Cache;

/// A text that is being written.
#[derive(Debug)]
pub struct DecodeSession<'a> {
    gemma: &'a Gemma,
    cache: Cache,
}

impl Gemma {
    /// A text of which nothing is written yet.
    pub fn decode_session(&self) -> DecodeSession<'_> {
        DecodeSession { gemma: self, cache: Cache::default() }
    }
}

impl DecodeSession<'_> {
    /// Adds `ids`, one at least, and tells how likely each token of the vocabulary is to come next: logits.
    pub fn append(&mut self, ids: &[u32]) -> Result<Vec<f32>> {
        if ids.is_empty() {
            candle_core::bail!("nothing follows from no tokens");
        }
        self.gemma.next_logits(ids, &mut self.cache)
    }
}
