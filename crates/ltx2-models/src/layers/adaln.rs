//! Timestep embedding and adaptive layer norm (`AdaLayerNormSingle`, PixArt-α section 2.3).

use candle_core::{DType, Device, Result, Tensor};
use ltx2_kernels::silu;

use crate::VarBuilder;
use crate::linear::Linear;

/// Width of the sinusoidal embedding.
const SINUSOID_DIM: usize = 256;

/// Network from timesteps to modulation parameters.
#[derive(Debug, Clone)]
pub struct AdaLayerNormSingle {
    linear_1: Linear,
    linear_2: Linear,
    linear: Linear,
}

/// Output of an [`AdaLayerNormSingle`].
#[derive(Debug, Clone)]
pub struct AdaLayerNormOutput {
    /// Modulation parameters, `(timesteps, coefficients * dim)`.
    pub parameters: Tensor,
    /// Embedded timesteps, `(timesteps, dim)`.
    pub embedded_timestep: Tensor,
}

impl AdaLayerNormSingle {
    /// Reads `emb.timestep_embedder.linear_1`, `linear_2` and `linear`, for `coefficients` parameters of width `dim`.
    pub fn new(dim: usize, coefficients: usize, vb: VarBuilder) -> Result<Self> {
        let embedder = vb.pp("emb.timestep_embedder");
        Ok(Self {
            linear_1: Linear::new(SINUSOID_DIM, dim, embedder.pp("linear_1"))?,
            linear_2: Linear::new(dim, dim, embedder.pp("linear_2"))?,
            linear: Linear::new(dim, coefficients * dim, vb.pp("linear"))?,
        })
    }

    /// Computes one row per timestep. `timesteps` are already scaled, usually to 0..1000.
    pub fn forward(&self, timesteps: &[f32], dtype: DType, device: &Device) -> Result<AdaLayerNormOutput> {
        let sinusoid = sinusoid(timesteps, device)?.to_dtype(dtype)?;
        let embedded_timestep = self.linear_2.forward(&silu(&self.linear_1.forward(&sinusoid)?)?)?;
        let parameters = self.linear.forward(&silu(&embedded_timestep)?)?;
        Ok(AdaLayerNormOutput { parameters, embedded_timestep })
    }
}

/// Sinusoidal embedding `(timesteps, 256)` in float32: cosines, then sines, at geometric frequencies from 1 to 1/10000.
fn sinusoid(timesteps: &[f32], device: &Device) -> Result<Tensor> {
    let half = SINUSOID_DIM / 2;
    let mut values = Vec::with_capacity(timesteps.len() * SINUSOID_DIM);
    for t in timesteps {
        let angle = |i: usize| t * (-(10000f32.ln()) * i as f32 / half as f32).exp();
        values.extend((0..half).map(|i| angle(i).cos()));
        values.extend((0..half).map(|i| angle(i).sin()));
    }
    Tensor::from_vec(values, (timesteps.len(), SINUSOID_DIM), device)
}
