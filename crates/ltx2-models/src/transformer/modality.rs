//! One modality as the transformer takes it.

use candle_core::{Device, Result, Tensor};
use ltx2_kernels::RopeTable;

/// One modality in a denoising step (`Modality`).
#[derive(Debug, Clone, Copy)]
pub struct Modality<'a> {
    /// Noisy tokens, `(1, n, channels)`, in the model's dtype.
    pub latent: &'a Tensor,
    /// Noise level of the schedule.
    pub sigma: f32,
    /// Noise level of each token.
    pub timesteps: &'a Timesteps,
    /// Rotary tables of the tokens' positions.
    pub rope: &'a StreamRope,
}

/// Rotary tables of one modality.
#[derive(Debug, Clone)]
pub struct StreamRope {
    /// For self-attention, over all axes.
    pub own: RopeTable,
    /// For cross-attention with the other modality, over time.
    pub cross: RopeTable,
}

/// A noise level per token, kept as the few distinct ones: the modulation networks then run once for each of those.
#[derive(Debug, Clone)]
pub struct Timesteps {
    distinct: Vec<f32>,
    /// Which of them each token has, `(n)`; absent if there is only one.
    index: Option<Tensor>,
}

impl Timesteps {
    /// From the level of each token.
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

    /// `(levels, d)` to what broadcasts over the tokens: `(1, 1, d)` or `(1, n, d)`.
    pub(super) fn per_token(&self, rows: &Tensor) -> Result<Tensor> {
        match &self.index {
            Some(index) => rows.contiguous()?.index_select(index, 0)?.unsqueeze(0),
            None => rows.unsqueeze(0),
        }
    }
}
