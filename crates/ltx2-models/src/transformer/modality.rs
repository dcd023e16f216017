//! Input of one modality (`Modality`).

use candle_core::{Device, Result, Tensor};
use ltx2_kernels::RopeTable;

/// One modality in a denoising step.
#[derive(Debug, Clone, Copy)]
pub struct Modality<'a> {
    /// Noisy tokens, `(1, n, channels)`, in the dtype of the model.
    pub latent: &'a Tensor,
    /// Noise level of the modality, independent of the other modality; 0 if it is frozen.
    pub sigma: f32,
    /// Noise level of each token: its denoise mask times `sigma`.
    pub timesteps: &'a Timesteps,
    /// Rotary embeddings of the token positions.
    pub rope: &'a StreamRope,
}

/// Rotary embeddings of one modality.
#[derive(Debug, Clone)]
pub struct StreamRope {
    /// For self-attention, over all axes.
    pub self_attn: RopeTable,
    /// For cross-attention with the other modality, over time.
    pub cross_attn: RopeTable,
}

/// Noise level of each token, stored as distinct levels and an index, so that the modulation networks run once per
/// distinct level.
#[derive(Debug, Clone)]
pub struct Timesteps {
    distinct: Vec<f32>,
    /// Index into `distinct` of each token, `(n)`; absent if all tokens have the same level.
    index: Option<Tensor>,
}

impl Timesteps {
    /// Creates timesteps from the noise level of each token.
    pub fn new(levels: &[f32], device: &Device) -> Result<Self> {
        let mut distinct: Vec<f32> = Vec::new();
        let mut index = Vec::with_capacity(levels.len());
        for level in levels {
            let at = distinct.iter().position(|other| other == level).unwrap_or_else(|| {
                distinct.push(*level);
                distinct.len() - 1
            });
            index.push(at as u32);
        }
        let index = if distinct.len() > 1 { Some(Tensor::new(index, device)?) } else { None };
        Ok(Self { distinct, index })
    }

    /// The distinct levels, times `scale`.
    pub(super) fn scaled(&self, scale: f32) -> Vec<f32> {
        self.distinct.iter().map(|level| level * scale).collect()
    }

    /// Selects the row of each token: `(levels, d)` to `(1, n, d)`, or to `(1, 1, d)` if all tokens have the same
    /// level.
    pub(super) fn per_token(&self, rows: &Tensor) -> Result<Tensor> {
        match &self.index {
            Some(index) => rows.contiguous()?.index_select(index, 0)?.unsqueeze(0),
            None => rows.unsqueeze(0),
        }
    }
}
