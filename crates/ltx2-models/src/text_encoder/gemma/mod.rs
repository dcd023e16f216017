//! The text model of Gemma 3, which returns the hidden states of every layer (`Gemma3TextModel`).
//!
//! The hidden states of a prompt are the embedding and the output of each layer, the last one normed, `(1, n, d)` each.
//! The official code pads prompts on the left. The causal mask hides the padding and nothing downstream reads it, so it is
//! omitted here; the tokens keep the positions they have after the padding.

mod config;
mod forward_pass;
mod kv_cache;
mod layer;

use candle_core::{DType, Result, Tensor};

use self::forward_pass::{ForwardPass, TokenSpan};
use self::layer::{Layer, norm_weight};
use super::tokenizer::MAX_TOKENS;
use crate::var_builder::VarBuilder;

pub use self::config::GemmaConfig;
pub(super) use self::kv_cache::KvCache;

/// The text model with all layers loaded.
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
        let loader = GemmaLoader { config, vb: vb.pp("language_model.model") };
        let layers = (0..config.num_hidden_layers).map(|i| loader.layer(i)).collect::<Result<_>>()?;
        Ok(Self { embed_tokens: loader.embed_tokens()?, layers, norm: loader.norm()?, config: config.clone() })
    }

    /// Returns the hidden states of a prompt without padding.
    pub fn hidden_states(&self, ids: &[u32]) -> Result<Vec<Tensor>> {
        let mut pass = ForwardPass::new(&self.config, &self.embed_tokens, ids, span_after_padding(ids))?;
        let mut states = vec![pass.state().clone()];
        for (i, layer) in self.layers.iter().enumerate() {
            pass.apply(i, layer, None)?;
            states.push(pass.state().clone());
        }
        replace_last(&mut states, pass.normed(&self.norm)?);
        Ok(states)
    }

    /// Returns the logits in float32 of the token after the cached tokens and `ids`, and adds `ids` to the cache.
    pub(super) fn next_logits(&self, ids: &[u32], cache: &mut KvCache) -> Result<Vec<f32>> {
        let span = TokenSpan { first: cache.len(), count: ids.len(), cached: cache.len() };
        let mut pass = ForwardPass::new(&self.config, &self.embed_tokens, ids, span)?;
        for (i, layer) in self.layers.iter().enumerate() {
            pass.apply(i, layer, Some(cache.layer(i)))?;
        }
        let last = pass.normed(&self.norm)?.narrow(1, ids.len() - 1, 1)?.squeeze(0)?;
        last.matmul(&self.embed_tokens.t()?)?.squeeze(0)?.to_dtype(DType::F32)?.to_vec1()
    }
}

/// Returns the hidden states of several prompts, equal to those of [`Gemma::hidden_states`], with one layer in memory at a
/// time: each layer is loaded, applied to all prompts and freed.
pub fn stream_hidden_states(config: &GemmaConfig, vb: VarBuilder, prompts: &[Vec<u32>]) -> Result<Vec<Vec<Tensor>>> {
    let loader = GemmaLoader { config, vb: vb.pp("language_model.model") };
    let embed_tokens = loader.embed_tokens()?;
    let embed = |ids: &Vec<u32>| ForwardPass::new(config, &embed_tokens, ids, span_after_padding(ids));
    let mut passes = prompts.iter().map(embed).collect::<Result<Vec<_>>>()?;
    drop(embed_tokens);
    let mut states: Vec<_> = passes.iter().map(|pass| vec![pass.state().clone()]).collect();
    for i in 0..config.num_hidden_layers {
        let layer = loader.layer(i)?;
        for (pass, states) in passes.iter_mut().zip(&mut states) {
            pass.apply(i, &layer, None)?;
            states.push(pass.state().clone());
        }
    }
    let norm = loader.norm()?;
    for (pass, states) in passes.iter().zip(&mut states) {
        replace_last(states, pass.normed(&norm)?);
    }
    Ok(states)
}

/// Loads the weights of the model piece by piece.
struct GemmaLoader<'a> {
    config: &'a GemmaConfig,
    vb: VarBuilder,
}

impl GemmaLoader<'_> {
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

/// Positions of the tokens of a prompt after its left padding.
fn span_after_padding(ids: &[u32]) -> TokenSpan {
    TokenSpan { first: MAX_TOKENS - ids.len(), count: ids.len(), cached: 0 }
}

/// Replaces the output of the last layer by its normed form.
fn replace_last(states: &mut [Tensor], normed: Tensor) {
    if let Some(last) = states.last_mut() {
        *last = normed;
    }
}
