//! A text on its way through the layers.

use candle_core::{DType, Device, Result, Tensor};
use ltx2_kernels::RopeTable;

use super::GemmaConfig;
use super::cache::LayerCache;
use super::layer::{Layer, View, norm};

/// Where tokens stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// Position of the first.
    pub(super) first: usize,
    pub(super) count: usize,
    /// How many before them the layers remember.
    pub(super) seen: usize,
}

/// The text, after some of the layers.
pub(super) struct Passage<'a> {
    config: &'a GemmaConfig,
    local: View,
    global: View,
    /// `(1, n, d)`.
    state: Tensor,
}

impl<'a> Passage<'a> {
    /// Before the first layer; `embed_tokens (vocabulary, d)`.
    pub(super) fn new(config: &'a GemmaConfig, embed_tokens: &Tensor, ids: &[u32], span: Span) -> Result<Self> {
        let (dtype, device) = (embed_tokens.dtype(), embed_tokens.device());
        let tokens = Tensor::new(ids, device)?;
        // The scale is rounded to the weights' dtype in the published implementation.
        let scale = Tensor::new((config.hidden_size as f64).sqrt() as f32, device)?.to_dtype(dtype)?;
        let state = embed_tokens.index_select(&tokens, 0)?.unsqueeze(0)?.broadcast_mul(&scale)?;
        let local = (config.rope_local_base_freq, 1.0, config.sliding_window);
        let global = (config.rope_theta, config.rope_factor, usize::MAX);
        let view = |of| view(config, of, span, (dtype, device));
        Ok(Self { config, local: view(local)?, global: view(global)?, state })
    }

    /// What it is now.
    pub(super) fn state(&self) -> &Tensor {
        &self.state
    }

    /// Takes it through layer number `index`.
    pub(super) fn pass(&mut self, index: usize, layer: &Layer, cache: Option<&mut LayerCache>) -> Result<()> {
        let view = if self.config.is_global(index) { &self.global } else { &self.local };
        self.state = layer.forward(self.config, &self.state, view, cache)?;
        Ok(())
    }

    /// What it is now, with the last norm.
    pub(super) fn normed(&self, weight: &Tensor) -> Result<Tensor> {
        norm(&self.state, weight, self.config.rms_norm_eps)
    }
}

/// What layers see that rotate by `theta` and `factor` and look back as far as `window`.
fn view(
    config: &GemmaConfig,
    (theta, factor, window): (f64, f64, usize),
    Span { first, count: n, seen }: Span,
    (dtype, device): (DType, &Device),
) -> Result<View> {
    let (half, heads) = (config.head_dim / 2, config.num_attention_heads);
    let mut angles = Vec::with_capacity(n * half);
    for position in first..first + n {
        for i in 0..half {
            let exponent = (2 * i) as f32 / config.head_dim as f32;
            let frequency = 1.0 / (theta as f32).powf(exponent) / factor as f32;
            angles.push(position as f32 * frequency);
        }
    }
    let angles = Tensor::from_vec(angles, (1, n, half), &Device::Cpu)?;
    let side = |x: Tensor| x.repeat((heads, 1, 1))?.to_device(device)?.to_dtype(dtype);
    let keys = seen + n;
    let mask: Vec<f32> = (0..n * keys)
        .map(|i| (seen + i / keys, i % keys))
        .map(|(q, k)| if k <= q && q - k < window { 0.0 } else { f32::NEG_INFINITY })
        .collect();
    Ok(View {
        rope: RopeTable { cos: side(angles.cos()?)?, sin: side(angles.sin()?)? },
        mask: Tensor::from_vec(mask, (1, 1, n, keys), device)?,
    })
}
