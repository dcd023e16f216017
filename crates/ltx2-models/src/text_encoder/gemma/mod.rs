//! Gemma 3's text model, returning the hidden states of every layer (`Gemma3TextModel`).
//!
//! A prompt's hidden states are the embedding, then what each layer makes of it (the last one normed), `(1, n, d)` each.
//! Padding stands on the left, where the causal mask hides it and nothing downstream looks at it: it is left out, and the
//! tokens keep the positions that they have behind it.

mod cache;
mod config;
mod layer;
mod passage;

use candle_core::{DType, Result, Tensor};

use super::MAX_TOKENS;
use crate::VarBuilder;
pub(super) use cache::Cache;
pub use config::GemmaConfig;
use layer::{Layer, norm_weight};
use passage::{Passage, Span};

/// The text model in memory.
#[derive(Debug)]
pub struct Gemma {
    config: GemmaConfig,
    embed_tokens: Tensor,
    layers: Vec<Layer>,
    norm: Tensor,
}

impl Gemma {
    /// Reads `language_model.model.*`.
    pub fn new(config: &GemmaConfig, vb: VarBuilder) -> Result<Self> {
        let parts = PartsOf { config, vb: vb.pp("language_model.model") };
        let layers = (0..config.num_hidden_layers).map(|i| parts.layer(i)).collect::<Result<_>>()?;
        Ok(Self { embed_tokens: parts.embed_tokens()?, layers, norm: parts.norm()?, config: config.clone() })
    }

    /// The hidden states of a prompt.
    pub fn hidden_states(&self, ids: &[u32]) -> Result<Vec<Tensor>> {
        let mut passage = Passage::new(&self.config, &self.embed_tokens, ids, padded(ids))?;
        let mut states = vec![passage.state().clone()];
        for (i, layer) in self.layers.iter().enumerate() {
            passage.pass(i, layer, None)?;
            states.push(passage.state().clone());
        }
        end(&mut states, passage.normed(&self.norm)?);
        Ok(states)
    }

    /// How likely each token is to follow `cache` and then `ids`, as logits in float32; `cache` has seen them afterwards.
    pub(super) fn next_logits(&self, ids: &[u32], cache: &mut Cache) -> Result<Vec<f32>> {
        let span = Span { first: cache.len(), count: ids.len(), seen: cache.len() };
        let mut passage = Passage::new(&self.config, &self.embed_tokens, ids, span)?;
        for (i, layer) in self.layers.iter().enumerate() {
            passage.pass(i, layer, Some(cache.layer(i)))?;
        }
        let last = passage.normed(&self.norm)?.narrow(1, ids.len() - 1, 1)?.squeeze(0)?;
        last.matmul(&self.embed_tokens.t()?)?.squeeze(0)?.to_dtype(DType::F32)?.to_vec1()
    }
}

/// The hidden states of several prompts, as [`Gemma::hidden_states`] has them, with no more than one layer in memory: each is
/// read, used for all of them, and gone before the next.
pub fn stream_hidden_states(config: &GemmaConfig, vb: VarBuilder, prompts: &[Vec<u32>]) -> Result<Vec<Vec<Tensor>>> {
    let parts = PartsOf { config, vb: vb.pp("language_model.model") };
    let embed_tokens = parts.embed_tokens()?;
    let begin = |ids: &Vec<u32>| Passage::new(config, &embed_tokens, ids, padded(ids));
    let mut passages = prompts.iter().map(begin).collect::<Result<Vec<_>>>()?;
    drop(embed_tokens);
    let mut states: Vec<_> = passages.iter().map(|passage| vec![passage.state().clone()]).collect();
    for i in 0..config.num_hidden_layers {
        let layer = parts.layer(i)?;
        for (passage, states) in passages.iter_mut().zip(&mut states) {
            passage.pass(i, &layer, None)?;
            states.push(passage.state().clone());
        }
    }
    let norm = parts.norm()?;
    for (passage, states) in passages.iter().zip(&mut states) {
        end(states, passage.normed(&norm)?);
    }
    Ok(states)
}

/// Where the parts are read.
struct PartsOf<'a> {
    config: &'a GemmaConfig,
    vb: VarBuilder,
}

impl PartsOf<'_> {
    fn embed_tokens(&self) -> Result<Tensor> {
        self.vb.get((self.config.vocab_size, self.config.hidden_size), "embed_tokens.weight")
    }

    fn layer(&self, index: usize) -> Result<Layer> {
        Layer::new(self.config, self.vb.pp("layers").pp(index))
    }

    fn norm(&self) -> Result<Tensor> {
        norm_weight(self.config.hidden_size, self.vb.pp("norm"))
    }
}

/// Where a prompt's tokens stand behind its padding.
fn padded(ids: &[u32]) -> Span {
    Span { first: MAX_TOKENS - ids.len(), count: ids.len(), seen: 0 }
}

/// Puts `normed` in the place of the last layer's own.
fn end(states: &mut [Tensor], normed: Tensor) {
    if let Some(last) = states.last_mut() {
        *last = normed;
    }
}
