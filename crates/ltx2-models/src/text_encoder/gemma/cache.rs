//! What the layers remember of the tokens before.

use candle_core::{Result, Tensor};

/// Keys and values of the tokens that were seen, `(1, kv_heads, n, head_dim)` each, for every layer.
#[derive(Debug, Default)]
pub(in crate::text_encoder) struct Cache {
    layers: Vec<LayerCache>,
}

/// Of one layer, once it has seen something.
pub(super) type LayerCache = Option<(Tensor, Tensor)>;

impl Cache {
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

/// What was remembered and `k` and `v` behind it, which is then remembered.
pub(super) fn remember(cache: &mut LayerCache, k: Tensor, v: Tensor) -> Result<(Tensor, Tensor)> {
    let both = match cache.take() {
        Some((before_k, before_v)) => (Tensor::cat(&[before_k, k], 2)?, Tensor::cat(&[before_v, v], 2)?),
        None => (k, v),
    };
    Ok(cache.insert(both).clone())
}
