//! Gemma writing a text on, token by token (`Gemma3ForConditionalGeneration`, text alone).

use candle_core::Result;

use super::Gemma;
use super::gemma::Cache;

/// A text that is being written.
#[derive(Debug)]
pub struct Continuation<'a> {
    gemma: &'a Gemma,
    cache: Cache,
}

impl Gemma {
    /// A text of which nothing is written yet.
    pub fn continuation(&self) -> Continuation<'_> {
        Continuation { gemma: self, cache: Cache::default() }
    }
}

impl Continuation<'_> {
    /// Adds `ids`, one at least, and tells how likely each token of the vocabulary is to come next: logits.
    pub fn add(&mut self, ids: &[u32]) -> Result<Vec<f32>> {
        if ids.is_empty() {
            candle_core::bail!("nothing follows from no tokens");
        }
        self.gemma.next_logits(ids, &mut self.cache)
    }
}
