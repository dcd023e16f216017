//! Key-value cache of Gemma.

use candle_core::{Result, Tensor};

/// Keys and values of the processed tokens, `(1, kv_heads, n, head_dim)` each, per layer.
#[derive(Debug, Default)]
pub(in crate::text_encoder) struct KvCache {
    layers: Vec<LayerCache>,
}

/// Keys and values of a layer; `None` before the first token.
pub(super) type LayerCache = Option<(Tensor, Tensor)>;

impl KvCache {
    /// Number of cached tokens.
    pub(super) fn len(&self) -> usize {
        self.layers.first().and_then(Option::as_ref).map_or(0, |(k, _)| k.dims()[2])
    }

    pub(super) fn layer(&mut self, index: usize) -> &mut LayerCache {
        if self.layers.len() <= index {
            self.layers.resize(index + 1, None);
        }
        &mut self.layers[index]
    }
}

/// Appends `k` and `v` to the cache and returns all cached keys and values.
pub(super) fn append(cache: &mut LayerCache, k: Tensor, v: Tensor) -> Result<(Tensor, Tensor)> {
    let all = match cache.take() {
        Some((cached_k, cached_v)) => (Tensor::cat(&[cached_k, k], 2)?, Tensor::cat(&[cached_v, v], 2)?),
        None => (k, v),
    };
    Ok(cache.insert(all).clone())
}
