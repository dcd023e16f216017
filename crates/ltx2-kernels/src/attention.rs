//! Scaled dot-product attention whose memory does not grow with queries × keys.
//!
//! On a card, bfloat16 without a mask goes to `attention.cu`; all else to the plain form, a block of queries at a time.

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
    if let Some(kernel) = on_cuda::kernel_for(q, scale, mask) {
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

#[cfg(feature = "cuda")]
mod on_cuda {
    use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
    use candle_core::{DType, Device, Result, Tensor, bail};
    use half::bf16;

    use crate::cuda::{self, LaunchConfig, PushKernelArg, WrapErr};

    /// What `attention.cu` compiles for one width of a head, in the words that it uses.
    #[derive(Clone, Copy)]
    pub(super) struct Kernel {
        name: &'static str,
        width: usize,
        warps: usize,
        tiles: usize,
        keys: usize,
    }

    const KERNELS: [Kernel; 2] = [
        Kernel { name: "attention_bf16_d64", width: 64, warps: 4, tiles: 2, keys: 64 },
        Kernel { name: "attention_bf16_d128", width: 128, warps: 4, tiles: 2, keys: 32 },
    ];

    impl Kernel {
        /// Queries of a block.
        fn queries(&self) -> usize {
            16 * self.warps * self.tiles
        }

        /// A block's queries, and twice the keys and values of a step.
        fn shared_bytes(&self) -> u32 {
            ((self.queries() + 4 * self.keys) * self.width * 2) as u32
        }
    }

    /// Distances between neighbours in elements.
    #[repr(C)]
    struct Strides {
        batch: i64,
        head: i64,
        token: i64,
    }

    #[repr(C)]
    struct Sizes {
        heads: i32,
        queries: i32,
        keys: i32,
    }

    // Both are plain numbers, laid out as the kernel's own.
    unsafe impl DeviceRepr for Strides {}
    unsafe impl DeviceRepr for Sizes {}

    /// The kernel that computes this, if one does.
    pub(super) fn kernel_for(q: &Tensor, scale: f64, mask: Option<&Tensor>) -> Option<Kernel> {
        // The largest score is the largest before scaling only if the scale is positive.
        if !q.device().is_cuda() || q.dtype() != DType::BF16 || mask.is_some() || scale <= 0.0 {
            return None;
        }
        KERNELS.into_iter().find(|kernel| q.dims().last() == Some(&kernel.width))
    }

    pub(super) fn attention(kernel: Kernel, q: &Tensor, k: &Tensor, v: &Tensor, scale: f64) -> Result<Tensor> {
        let (b, h, t, d) = q.dims4()?;
        let s = k.dim(2)?;
        if k.dims() != [b, h, s, d] || v.dims() != [b, h, s, d] || k.dtype() != q.dtype() || v.dtype() != q.dtype() {
            bail!("attention of {q:?} to {k:?} and {v:?}: they have to agree in all but their lengths")
        }
        if b * h == 0 || t == 0 || s == 0 || b * h > 65_535 || t.max(s) > i32::MAX as usize - kernel.queries() {
            bail!(
                "attention of {t} queries to {s} keys in {b}x{h} heads: lengths have to be above zero, heads below 65536"
            )
        }
        let Device::Cuda(device) = q.device() else { bail!("attention.cu needs its queries on a card") };
        let [q, k, v] = [aligned(q)?, aligned(k)?, aligned(v)?];
        let [q_strides, k_strides, v_strides] = [&q, &k, &v].map(strides);
        let sizes = Sizes { heads: h as i32, queries: t as i32, keys: s as i32 };
        let scale = (scale * std::f64::consts::LOG2_E) as f32;
        // Every element is written below.
        let mut out = unsafe { device.alloc::<bf16>(b * t * h * d)? };
        {
            let ((q, q_at), (k, k_at), (v, v_at)) =
                (q.storage_and_layout(), k.storage_and_layout(), v.storage_and_layout());
            let (q, k, v) =
                (cuda::view::<bf16>(&q, q_at)?, cuda::view::<bf16>(&k, k_at)?, cuda::view::<bf16>(&v, v_at)?);
            let function = cuda::ATTENTION.kernel(device, kernel.name)?;
            function.allow_shared(kernel.shared_bytes())?;
            let mut launch = function.builder();
            launch.arg(&q).arg(&k).arg(&v).arg(&mut out).arg(&q_strides).arg(&k_strides).arg(&v_strides);
            launch.arg(&sizes).arg(&scale);
            let config = LaunchConfig {
                grid_dim: (t.div_ceil(kernel.queries()) as u32, (b * h) as u32, 1),
                block_dim: (32 * kernel.warps as u32, 1, 1),
                shared_mem_bytes: kernel.shared_bytes(),
            };
            unsafe { launch.launch(config) }.w()?;
        }
        cuda::tensor(out, device, (b, t, h, d).into()).transpose(1, 2)
    }

    /// The same tensor with rows that the kernel can copy in pieces of 16 bytes; itself if it is so.
    fn aligned(x: &Tensor) -> Result<Tensor> {
        let pieces = |elements: usize| elements.is_multiple_of(8);
        let layout = x.layout();
        let (rows, last) = layout.stride().split_at(3);
        if last == [1] && pieces(layout.start_offset()) && rows.iter().all(|stride| pieces(*stride)) {
            return Ok(x.clone());
        }
        x.force_contiguous()
    }

    fn strides(x: &Tensor) -> Strides {
        let stride = x.stride();
        Strides { batch: stride[0] as i64, head: stride[1] as i64, token: stride[2] as i64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_device;
    use candle_core::Device;

    #[test]
    fn bfloat16_is_near_float32() -> Result<()> {
        for (b, h, t, s, d) in [(1, 1, 1, 1, 64), (2, 3, 130, 65, 64), (1, 2, 70, 200, 128), (2, 2, 300, 97, 128)] {
            // As layers make them: views of (b, t, h, d), all scores well below those of keys that are zero.
            let make = |tokens: usize, mean: f32| -> Result<Tensor> {
                Tensor::randn(mean, 1., (b, tokens, h, d), &Device::Cpu)?.to_dtype(DType::BF16)?.transpose(1, 2)
            };
            let (q, k, v) = (make(t, 0.7)?, make(s, -0.7)?, make(s, 0.)?);
            let scale = 1. / (d as f64).sqrt();
            let device = test_device()?;
            let on_device = |x: &Tensor| x.transpose(1, 2)?.to_device(&device)?.transpose(1, 2);
            let got = attention(&on_device(&q)?, &on_device(&k)?, &on_device(&v)?, scale, None)?;
            assert_eq!((got.dims(), got.dtype()), (&[b, h, t, d][..], DType::BF16));
            let wide = |x: &Tensor| x.to_dtype(DType::F32);
            let exact = plain(&wide(&q)?, &wide(&k)?, &wide(&v)?, scale, None)?;
            let apart = (wide(&got.to_device(&Device::Cpu)?)? - exact)?.abs()?.max_all()?.to_scalar::<f32>()?;
            assert!(apart < 0.05, "{b} {h} {t} {s} {d}: {apart}");
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
