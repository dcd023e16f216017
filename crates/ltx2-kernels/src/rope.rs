//! Rotary position embedding with separate angles for each head.

use candle_core::{DType, Result, Tensor};

use crate::rounding::rounded_once;

/// Pairing of a head's channels for the rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rope {
    /// Neighbouring channels: `(0, 1), (2, 3) ...`
    Interleaved,
    /// Channels half a head apart: `(0, d/2), (1, d/2 + 1) ...`
    Split,
}

/// Cosines and sines of the angles of a sequence, `(heads, t, d / 2)` each.
#[derive(Debug, Clone)]
pub struct RopeTable {
    /// Cosines of the angles.
    pub cos: Tensor,
    /// Sines of the angles.
    pub sin: Tensor,
}

impl Rope {
    /// Rotates `x (b, heads, t, d)` by the angles of `table`.
    pub fn apply(self, x: &Tensor, table: &RopeTable) -> Result<Tensor> {
        let (b, heads, t, d) = x.dims4()?;
        let dtype = if x.device().is_cpu() { DType::F32 } else { x.dtype() };
        let repeated = |angles: &Tensor| angles.to_dtype(dtype)?.repeat((b, 1, 1));
        let (cos, sin) = (repeated(&table.cos)?, repeated(&table.sin)?);
        // candle has one table per batch entry and none per head, so the heads become batch entries.
        let x = x.contiguous()?.reshape((b * heads, 1, t, d))?;
        let rotated = rounded_once(&x, |x| match self {
            Self::Interleaved => candle_nn::rotary_emb::rope_i(x, &cos, &sin),
            Self::Split => candle_nn::rotary_emb::rope(x, &cos, &sin),
        })?;
        rotated.reshape((b, heads, t, d))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn apply_rotates_each_head_by_its_own_angles() -> Result<()> {
        let (heads, t, d) = (2, 3, 4);
        let device = Device::Cpu;
        let angle = Tensor::randn(0f32, 1., (heads, t, d / 2), &device)?;
        let table = RopeTable { cos: angle.cos()?, sin: angle.sin()? };
        let x = Tensor::randn(0f32, 1., (1, heads, t, d), &device)?;
        let angle = angle.flatten_all()?.to_vec1::<f32>()?;
        let flat = x.flatten_all()?.to_vec1::<f32>()?;
        for (rope, pair) in [(Rope::Interleaved, |i| (2 * i, 2 * i + 1)), (Rope::Split, |i| (i, i + 2))]
            as [(Rope, fn(usize) -> (usize, usize)); 2]
        {
            let rotated = rope.apply(&x, &table)?.flatten_all()?.to_vec1::<f32>()?;
            for row in 0..heads * t {
                for i in 0..d / 2 {
                    let (a, b) = pair(i);
                    let (a, b) = (row * d + a, row * d + b);
                    let (sin, cos) = angle[row * d / 2 + i].sin_cos();
                    assert!((rotated[a] - (flat[a] * cos - flat[b] * sin)).abs() < 1e-6);
                    assert!((rotated[b] - (flat[b] * cos + flat[a] * sin)).abs() < 1e-6);
                }
            }
        }
        Ok(())
    }
}
