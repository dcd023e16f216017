//! Scaled dot-product attention whose memory does not grow with queries × keys.
//!
//! On CUDA, bfloat16 without a mask runs in `attention.cu` or, on Hopper, in `attention_sm90.cu`. Everything else uses
//! plain candle, one block of queries at a time.

mod kernel;
#[cfg(feature = "cuda")]
mod on_cuda;

use candle_core::{D, DType, Result, Tensor};

pub use kernel::AttentionKernel;

/// Upper bound in bytes of the float32 scores of one block of queries.
const SCORE_BYTES: usize = 256 << 20;

/// Returns `softmax(q kᵀ · scale) v`.
///
/// `q (b, h, t, d)`, `k` and `v (b, h, s, d)`. Scores and softmax are float32 in every dtype. The result is
/// `(b, h, t, d)` in the dtype of `q`. On CUDA, views of `(b, t, h, d)` are read without a copy, and the result is such
/// a view too. `kernel` has no effect elsewhere.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64, kernel: AttentionKernel) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(variant) = on_cuda::select(q, scale, kernel)? {
        return on_cuda::attention(variant, q, k, v, scale);
    }
    #[cfg(not(feature = "cuda"))]
    let _ = kernel;
    blocked(q, k, v, scale, None, block_rows(q, k)?)
}

/// Returns `softmax(q kᵀ · scale + mask) v`, in plain candle.
///
/// Operands and result are those of [`attention`]; `mask` broadcasts to `(b, h, t, s)`.
pub fn masked_attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64, mask: &Tensor) -> Result<Tensor> {
    blocked(q, k, v, scale, Some(mask), block_rows(q, k)?)
}

/// Queries per block.
fn block_rows(q: &Tensor, k: &Tensor) -> Result<usize> {
    let (b, h, t, _) = q.dims4()?;
    let s = k.dim(2)?;
    Ok((SCORE_BYTES / (b * h * s * size_of::<f32>()).max(1)).clamp(1, t))
}

fn blocked(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64, mask: Option<&Tensor>, rows: usize) -> Result<Tensor> {
    let t = q.dim(2)?;
    if rows >= t {
        return reference(q, k, v, scale, mask);
    }
    let blocks = (0..t)
        .step_by(rows)
        .map(|start| {
            let rows = rows.min(t - start);
            let mask = match mask {
                Some(mask) if mask.dim(D::Minus2)? != 1 => Some(mask.narrow(D::Minus2, start, rows)?),
                other => other.cloned(),
            };
            reference(&q.narrow(2, start, rows)?, k, v, scale, mask.as_ref())
        })
        .collect::<Result<Vec<_>>>()?;
    Tensor::cat(&blocks, 2)
}

/// Attention in plain candle with the whole score matrix in memory.
pub fn reference(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64, mask: Option<&Tensor>) -> Result<Tensor> {
    let dtype = q.dtype();
    // On a CPU only the result is rounded.
    let computed = if q.device().is_cpu() { DType::F32 } else { dtype };
    let (q, k, v) = (q.to_dtype(computed)?, k.to_dtype(computed)?, v.to_dtype(computed)?);
    // Scaling the queries touches fewer elements than scaling the scores; it is exact for powers of two.
    let q = (q.contiguous()? * scale)?;
    let scores = q.matmul(&k.transpose(2, 3)?.contiguous()?)?.to_dtype(DType::F32)?;
    let scores = match mask {
        Some(mask) => scores.broadcast_add(&mask.to_dtype(DType::F32)?)?,
        None => scores,
    };
    candle_nn::ops::softmax_last_dim(&scores)?.to_dtype(computed)?.matmul(&v.contiguous()?)?.to_dtype(dtype)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_device;
    use candle_core::Device;

    /// Attention by every kernel that the device supports, or by plain candle on a CPU.
    fn by_every_kernel(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64) -> Result<Vec<Tensor>> {
        #[cfg(feature = "cuda")]
        if q.device().is_cuda() {
            let variants = on_cuda::supported(q)?;
            assert!(!variants.is_empty());
            return variants.into_iter().map(|variant| on_cuda::attention(variant, q, k, v, scale)).collect();
        }
        Ok(vec![attention(q, k, v, scale, AttentionKernel::Auto)?])
    }

    #[test]
    fn bfloat16_is_close_to_float32() -> Result<()> {
        let small = [(1, 1, 1, 1, 64), (2, 3, 130, 65, 64), (1, 2, 70, 200, 128), (2, 2, 300, 97, 128)];
        // Around the tile sizes: blocks of 128 and 192 queries, steps of 128 keys in a pipeline of three stages.
        let edges = [(127, 129), (128, 128), (129, 127), (191, 255), (193, 257), (5, 640), (64, 513)];
        let edges = edges.into_iter().flat_map(|(t, s)| [(1, 2, t, s, 64), (2, 1, t, s, 128)]);
        let device = test_device()?;
        for (b, h, t, s, d) in small.into_iter().chain(edges) {
            // Views of (b, t, h, d) as in the layers. All scores are well below 0, the score of a zero key.
            let make = |tokens: usize, mean: f32| -> Result<Tensor> {
                Tensor::randn(mean, 1., (b, tokens, h, d), &Device::Cpu)?.to_dtype(DType::BF16)?.transpose(1, 2)
            };
            let (q, k, v) = (make(t, 0.7)?, make(s, -0.7)?, make(s, 0.)?);
            let scale = 1. / (d as f64).sqrt();
            let on_device = |x: &Tensor| x.transpose(1, 2)?.to_device(&device)?.transpose(1, 2);
            // Heads inside longer rows, which the kernels read without a copy.
            let strided = |x: &Tensor| on_device(&Tensor::cat(&[x, x], 3)?)?.narrow(3, d, d);
            let wide = |x: &Tensor| x.to_dtype(DType::F32);
            let exact = reference(&wide(&q)?, &wide(&k)?, &wide(&v)?, scale, None)?;
            for got in by_every_kernel(&on_device(&q)?, &strided(&k)?, &strided(&v)?, scale)? {
                assert_eq!((got.dims(), got.dtype()), (&[b, h, t, d][..], DType::BF16));
                let error = (wide(&got.to_device(&Device::Cpu)?)? - &exact)?.abs()?.max_all()?.to_scalar::<f32>()?;
                assert!(error < 0.05, "{b} {h} {t} {s} {d}: {error}");
            }
        }
        Ok(())
    }

    #[test]
    fn blocked_attention_equals_the_whole_score_matrix() -> Result<()> {
        let device = Device::Cpu;
        let q = Tensor::randn(0f32, 1., (1, 2, 37, 8), &device)?;
        let k = Tensor::randn(0f32, 1., (1, 2, 19, 8), &device)?;
        let v = Tensor::randn(0f32, 1., (1, 2, 19, 8), &device)?;
        let mask = Tensor::randn(0f32, 1., (1, 1, 37, 19), &device)?;
        for mask in [None, Some(&mask)] {
            let whole = reference(&q, &k, &v, 0.3, mask)?;
            for rows in [1, 5, 36, 37, 100] {
                let blocks = blocked(&q, &k, &v, 0.3, mask, rows)?;
                let error = (&whole - &blocks)?.abs()?.max_all()?.to_scalar::<f32>()?;
                assert!(error < 1e-6, "{rows} rows: {error}");
            }
        }
        Ok(())
    }
}
