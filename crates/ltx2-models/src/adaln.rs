//! Timestep embedding and adaptive layer norm (`AdaLayerNormSingle`, PixArt-α section 2.3).

use candle_core::{DType, Device, Result, Tensor};

use crate::VarBuilder;
use crate::linear::Linear;

/// Width of the sinusoidal embedding.
const SINUSOID: usize = 256;

/// Timesteps to modulation parameters.
#[derive(Debug, Clone)]
pub struct AdaLayerNormSingle {
    linear_1: Linear,
    linear_2: Linear,
    linear: Linear,
}

/// What an [`AdaLayerNormSingle`] makes of each timestep.
#[derive(Debug, Clone)]
pub struct Modulation {
    /// `(timesteps, coefficients * dim)`.
    pub parameters: Tensor,
    /// `(timesteps, dim)`.
    pub embedded: Tensor,
}

impl AdaLayerNormSingle {
    /// `coefficients` parameters of width `dim`.
    pub fn new(dim: usize, coefficients: usize, vb: VarBuilder) -> Result<Self> {
        let embedder = vb.pp("emb.timestep_embedder");
        Ok(Self {
            linear_1: Linear::new(SINUSOID, dim, embedder.pp("linear_1"))?,
            linear_2: Linear::new(dim, dim, embedder.pp("linear_2"))?,
            linear: Linear::new(dim, coefficients * dim, vb.pp("linear"))?,
        })
    }

    /// For each of `timesteps` (already scaled, usually 0 to 1000).
    pub fn forward(&self, timesteps: &[f32], dtype: DType, device: &Device) -> Result<Modulation> {
        let sinusoid = sinusoid(timesteps, device)?.to_dtype(dtype)?;
        let embedded = self.linear_2.forward(&self.linear_1.forward(&sinusoid)?.silu()?)?;
        Ok(Modulation { parameters: self.linear.forward(&embedded.silu()?)?, embedded })
    }
}

/// `(timesteps, 256)`: cosines, then sines, of the timestep at geometric frequencies from 1 to 1/10000.
fn sinusoid(timesteps: &[f32], device: &Device) -> Result<Tensor> {
    let half = SINUSOID / 2;
    let mut values = Vec::with_capacity(timesteps.len() * SINUSOID);
    for t in timesteps {
        let angle = |i: usize| t * (-(10000f32.ln()) * i as f32 / half as f32).exp();
        values.extend((0..half).map(|i| angle(i).cos()));
        values.extend((0..half).map(|i| angle(i).sin()));
    }
    Tensor::from_vec(values, (timesteps.len(), SINUSOID), device)
}
