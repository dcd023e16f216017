//! Scaled dot-product attention whose memory does not grow with queries × keys.

use candle_core::{D, DType, Result, Tensor};

/// Most bytes that one block of float32 scores may take.
const SCORE_BYTES: usize = 256 << 20;

/// `softmax(q kᵀ · scale + mask) v`, a block of queries at a time.
///
/// `q (b, h, t, d)`, `k` and `v (b, h, s, d)`, `mask` broadcastable to `(b, h, t, s)` and added to the scores.
/// Scores and softmax are float32 whatever the inputs are. The result is `(b, h, t, d)` in the dtype of `q`.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64, mask: Option<&Tensor>) -> Result<Tensor> {
    let (b, h, t, _) = q.dims4()?;
    let s = k.dim(2)?;
    let rows = (SCORE_BYTES / (b * h * s * size_of::<f32>()).max(1)).clamp(1, t);
    blocked(q, k, v, scale, mask, rows)
}

fn blocked(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64, mask: Option<&Tensor>, rows: usize) -> Result<Tensor> {
    let t = q.dim(2)?;
    if rows >= t {
        return plain(q, k, v, scale, mask);
    }
    let blocks = (0..t)
        .step_by(rows)
        .map(|start| {
            let rows = rows.min(t - start);
            let mask = match mask {
                Some(mask) if mask.dim(D::Minus2)? != 1 => Some(mask.narrow(D::Minus2, start, rows)?),
                other => other.cloned(),
            };
            plain(&q.narrow(2, start, rows)?, k, v, scale, mask.as_ref())
        })
        .collect::<Result<Vec<_>>>()?;
    Tensor::cat(&blocks, 2)
}

/// The same with the whole score matrix at once.
pub fn plain(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64, mask: Option<&Tensor>) -> Result<Tensor> {
    let dtype = q.dtype();
    // Scaling the queries rather than the scores touches fewer elements; by a power of two it is exact.
    let q = (q.contiguous()? * scale)?;
    let scores = q.matmul(&k.transpose(2, 3)?.contiguous()?)?.to_dtype(DType::F32)?;
    let scores = match mask {
        Some(mask) => scores.broadcast_add(&mask.to_dtype(DType::F32)?)?,
        None => scores,
    };
    candle_nn::ops::softmax_last_dim(&scores)?.to_dtype(dtype)?.matmul(&v.contiguous()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn blocks_equal_the_whole() -> Result<()> {
        let device = Device::Cpu;
        let q = Tensor::randn(0f32, 1., (1, 2, 37, 8), &device)?;
        let k = Tensor::randn(0f32, 1., (1, 2, 19, 8), &device)?;
        let v = Tensor::randn(0f32, 1., (1, 2, 19, 8), &device)?;
        let mask = Tensor::randn(0f32, 1., (1, 1, 37, 19), &device)?;
        for mask in [None, Some(&mask)] {
            let whole = plain(&q, &k, &v, 0.3, mask)?;
            for rows in [1, 5, 36, 37, 100] {
                let parts = blocked(&q, &k, &v, 0.3, mask, rows)?;
                let apart = (&whole - &parts)?.abs()?.max_all()?.to_scalar::<f32>()?;
                assert!(apart < 1e-6, "{rows} rows: {apart}");
            }
        }
        Ok(())
    }
}
