//! Queries and keys on their way to attention: normed over all heads, then turned head by head.

use candle_core::{Result, Tensor};

use crate::norm::rms_norm;
use crate::rope::{Rope, RopeTable};

/// Root-mean-square norm of `x (b, t, heads * d)` times `weight (heads * d)`, turned by `table` of as many heads, as
/// `(b, heads, t, d)`. On a card that is a view of `(b, t, heads, d)`.
pub fn norm_rope(x: &Tensor, weight: &Tensor, eps: f64, rope: Rope, table: &RopeTable) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(kernel) = on_cuda::NormRope::new(x, weight, eps, rope, table) {
        return kernel.run();
    }
    let (b, t, width) = x.dims3()?;
    let heads = table.cos.dim(0)?;
    let x = rms_norm(x, Some(weight), eps)?.reshape((b, t, heads, width / heads))?.transpose(1, 2)?;
    rope.apply(&x, table)
}

#[cfg(feature = "cuda")]
mod on_cuda {
    use candle_core::cuda_backend::CudaDType;
    use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
    use candle_core::{DType, Result, Tensor};
    use half::bf16;

    use crate::cuda::{self, LaunchConfig, Packed, PushKernelArg, WrapErr};
    use crate::rope::{Rope, RopeTable};

    pub(super) struct NormRope<'a> {
        packed: Packed<'a>,
        x: &'a Tensor,
        weight: &'a Tensor,
        table: &'a RopeTable,
        /// Batch, tokens, heads and width of a head.
        sizes: [usize; 4],
        eps: f32,
    }

    impl<'a> NormRope<'a> {
        /// If the kernel computes this.
        pub(super) fn new(
            x: &'a Tensor,
            weight: &'a Tensor,
            eps: f64,
            rope: Rope,
            table: &'a RopeTable,
        ) -> Option<Self> {
            let ((b, t, width), (heads, tokens, half)) = (x.dims3().ok()?, table.cos.dims3().ok()?);
            let packed = Packed::new(&[x, weight, &table.cos, &table.sin], half)?;
            let fits = rope == Rope::Split
                && tokens == t
                && heads * half * 2 == width
                && table.sin.dims() == table.cos.dims()
                && weight.elem_count() == width
                && x.elem_count() > 0;
            fits.then_some(Self { packed, x, weight, table, sizes: [b, t, heads, half * 2], eps: eps as f32 })
        }

        pub(super) fn run(&self) -> Result<Tensor> {
            match self.packed.dtype {
                DType::BF16 => self.launch::<bf16>("norm_rope_bf16"),
                _ => self.launch::<f32>("norm_rope_f32"),
            }
        }

        fn launch<T: CudaDType + DeviceRepr>(&self, name: &str) -> Result<Tensor> {
            let device = self.packed.device;
            let [b, t, heads, d] = self.sizes;
            // Every element is written below.
            let mut out = unsafe { device.alloc::<T>(self.x.elem_count())? };
            {
                let (x, weight) = (self.x.storage_and_layout(), self.weight.storage_and_layout());
                let (cos, sin) = (self.table.cos.storage_and_layout(), self.table.sin.storage_and_layout());
                let (x, weight) = (cuda::view::<T>(&x.0, x.1)?, cuda::view::<T>(&weight.0, weight.1)?);
                let (cos, sin) = (cuda::view::<T>(&cos.0, cos.1)?, cuda::view::<T>(&sin.0, sin.1)?);
                let [tokens, heads_count, head_width] = [t, heads, d].map(|n| n as i32);
                let kernel = cuda::NORM_ROPE.kernel(device, name)?;
                let mut launch = kernel.builder();
                launch.arg(&x).arg(&weight).arg(&cos).arg(&sin).arg(&mut out);
                launch.arg(&tokens).arg(&heads_count).arg(&head_width).arg(&self.eps);
                let config = LaunchConfig {
                    grid_dim: ((b * t) as u32, 1, 1),
                    block_dim: (cuda::threads(heads * d / 2 / self.packed.elements), 1, 1),
                    shared_mem_bytes: 0,
                };
                unsafe { launch.launch(config) }.w()?;
            }
            cuda::tensor(out, device, (b, t, heads, d).into()).transpose(1, 2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_device;
    use candle_core::{DType, Device};

    #[test]
    fn equals_the_formula() -> Result<()> {
        let (b, t, heads, d, eps) = (2, 3, 2, 32, 1e-6);
        let make = |shape: &[usize], mean: f32| Tensor::randn(mean, 1f32, shape, &Device::Cpu);
        let (x, weight) = (make(&[b, t, heads * d], 0.3)?, make(&[heads * d], 1.)?);
        let angle = make(&[heads, t, d / 2], 0.)?;
        let device = test_device()?;
        for (dtype, limit) in [(DType::F32, 1e-4), (DType::BF16, 0.3)] {
            let to = |x: &Tensor| x.to_dtype(dtype)?.to_device(&device);
            let table = RopeTable { cos: to(&angle.cos()?)?, sin: to(&angle.sin()?)? };
            let got = norm_rope(&to(&x)?, &to(&weight)?, eps, Rope::Split, &table)?;
            assert_eq!(got.dims(), [b, heads, t, d]);
            let flat = |x: &Tensor| x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
            let (got, x, weight, angle) = (flat(&got)?, flat(&x)?, flat(&weight)?, flat(&angle)?);
            for (i, got) in got.iter().enumerate() {
                let (batch, head, token, at) = (i / (heads * t * d), i / (t * d) % heads, i / d % t, i % d);
                let row = &x[(batch * t + token) * heads * d..][..heads * d];
                let rms = (row.iter().map(|x| x * x).sum::<f32>() / row.len() as f32 + eps as f32).sqrt();
                let normed = |at: usize| row[head * d + at] / rms * weight[head * d + at];
                let (sin, cos) = angle[(head * t + token) * d / 2 + at % (d / 2)].sin_cos();
                let exact = match at < d / 2 {
                    true => normed(at) * cos - normed(at + d / 2) * sin,
                    false => normed(at) * cos + normed(at - d / 2) * sin,
                };
                assert!((got - exact).abs() < limit, "{i}: {got}, not {exact}");
            }
        }
        Ok(())
    }
}
