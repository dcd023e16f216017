//! Scaled dot-product attention whose memory does not grow with queries × keys.
//!
//! On a card, bfloat16 without a mask goes to `attention.cu` or, on Hopper, to `attention_sm90.cu`; all else to the plain form,
//! a block of queries at a time.

#[cfg(feature = "cuda")]
pub(crate) mod on_cuda;

use candle_core::{D, DType, Result, Tensor};

/// Most bytes that one block of float32 scores may take.
const SCORE_BYTES: usize = 256 << 20;

/// `softmax(q kᵀ · scale + mask) v`, a block of queries at a time.
///
/// `q (b, h, t, d)`, `k` and `v (b, h, s, d)`, `mask` broadcastable to `(b, h, t, s)` and added to the scores.
/// Scores and softmax are float32 whatever the inputs are. The result is `(b, h, t, d)` in the dtype of `q`. On a card all of
/// them are best views of `(b, t, h, d)`: nothing is copied then, and the result is such a view too.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64, mask: Option<&Tensor>) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(kernel) = on_cuda::kernel_for(q, scale, mask)? {
        return on_cuda::attention(kernel, q, k, v, scale);
    }
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
    use crate::test_device;
    use candle_core::Device;

    /// Attention by every kernel that the machine has for it, or by none.
    fn by_each(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64) -> Result<Vec<Tensor>> {
        #[cfg(feature = "cuda")]
        if q.device().is_cuda() {
            let kernels = on_cuda::kernels_for(q)?;
            assert!(!kernels.is_empty());
            return kernels.into_iter().map(|kernel| on_cuda::attention(kernel, q, k, v, scale)).collect();
        }
        Ok(vec![attention(q, k, v, scale, None)?])
    }

    #[test]
    fn bfloat16_is_near_float32() -> Result<()> {
        let small = [(1, 1, 1, 1, 64), (2, 3, 130, 65, 64), (1, 2, 70, 200, 128), (2, 2, 300, 97, 128)];
        // At the edges of tiles: blocks of 128 and 192 queries, steps of 128 keys, three of them on their way.
        let edges = [(127, 129), (128, 128), (129, 127), (191, 255), (193, 257), (5, 640), (64, 513)];
        let edges = edges.into_iter().flat_map(|(t, s)| [(1, 2, t, s, 64), (2, 1, t, s, 128)]);
        let device = test_device()?;
        for (b, h, t, s, d) in small.into_iter().chain(edges) {
            // As layers make them: views of (b, t, h, d), all scores well below those of keys that are zero.
            let make = |tokens: usize, mean: f32| -> Result<Tensor> {
                Tensor::randn(mean, 1., (b, tokens, h, d), &Device::Cpu)?.to_dtype(DType::BF16)?.transpose(1, 2)
            };
            let (q, k, v) = (make(t, 0.7)?, make(s, -0.7)?, make(s, 0.)?);
            let scale = 1. / (d as f64).sqrt();
            let on_device = |x: &Tensor| x.transpose(1, 2)?.to_device(&device)?.transpose(1, 2);
            // Heads that are parts of longer rows, which no kernel has to copy first.
            let part = |x: &Tensor| on_device(&Tensor::cat(&[x, x], 3)?)?.narrow(3, d, d);
            let wide = |x: &Tensor| x.to_dtype(DType::F32);
            let exact = plain(&wide(&q)?, &wide(&k)?, &wide(&v)?, scale, None)?;
            for got in by_each(&on_device(&q)?, &part(&k)?, &part(&v)?, scale)? {
                assert_eq!((got.dims(), got.dtype()), (&[b, h, t, d][..], DType::BF16));
                let apart = (wide(&got.to_device(&Device::Cpu)?)? - &exact)?.abs()?.max_all()?.to_scalar::<f32>()?;
                assert!(apart < 0.05, "{b} {h} {t} {s} {d}: {apart}");
            }
        }
        Ok(())
    }

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
