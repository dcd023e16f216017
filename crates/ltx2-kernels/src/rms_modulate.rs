//! Root-mean-square norm and adaptive modulation, separate and fused (`rms_modulate.cu`).

use candle_core::{D, Result, Tensor};

use crate::rounding::rounded_once;

/// Root-mean-square norm over the last dimension of `x`, times `weight (d)` if given. Computed in float32.
pub fn rms_norm(x: &Tensor, weight: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if weight.is_none()
        && let Some(kernel) = on_cuda::RmsModulate::new(x, None, eps)
    {
        return kernel.run();
    }
    let ones;
    let weight = match weight {
        Some(weight) => weight,
        None => {
            ones = Tensor::ones(x.dim(D::Minus1)?, x.dtype(), x.device())?;
            &ones
        }
    };
    let norm = |x: &Tensor| candle_nn::ops::rms_norm(&x.contiguous()?, &weight.to_dtype(x.dtype())?, eps as f32);
    rounded_once(x, norm)
}

/// `rms_norm(x) (1 + scale) + shift` over the last dimension of `x (..., d)`. `scale` and `shift` broadcast to `x`.
pub fn rms_norm_modulate(x: &Tensor, scale: &Tensor, shift: &Tensor, eps: f64) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(kernel) = on_cuda::RmsModulate::new(x, Some((scale, shift)), eps) {
        return kernel.run();
    }
    modulate(&rms_norm(x, None, eps)?, scale, shift)
}

/// `x (1 + scale) + shift`. `scale` and `shift` broadcast to `x`.
pub fn modulate(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    x.broadcast_mul(&(scale + 1.0)?)?.broadcast_add(shift)
}

#[cfg(feature = "cuda")]
mod on_cuda {
    use candle_core::{D, DType, Result, Tensor};
    use half::bf16;

    use crate::cuda::{self, Element, LaunchConfig, PushKernelArg, Vectorized, WrapErr};

    /// Launch of `rms_norm_modulate_*`, with or without modulation.
    pub(super) struct RmsModulate<'a> {
        vectors: Vectorized<'a>,
        x: &'a Tensor,
        scale: Option<&'a Tensor>,
        shift: Option<&'a Tensor>,
        /// Row strides of `scale` and `shift`.
        strides: [i64; 2],
        width: usize,
        eps: f32,
    }

    impl<'a> RmsModulate<'a> {
        /// Returns `None` if the kernel does not support the operands.
        pub(super) fn new(x: &'a Tensor, modulation: Option<(&'a Tensor, &'a Tensor)>, eps: f64) -> Option<Self> {
            let width = x.dim(D::Minus1).ok()?;
            let (scale, shift) = modulation.unzip();
            let vectors = Vectorized::new(&[Some(x), scale, shift].into_iter().flatten().collect::<Vec<_>>(), width)?;
            let stride =
                |rows: Option<&Tensor>| rows.map_or(Some(0), |rows| cuda::row_stride(x, rows)).map(|n| n as i64);
            let strides = [stride(scale)?, stride(shift)?];
            let fits = width.max(x.elem_count() / width) <= i32::MAX as usize;
            fits.then_some(Self { vectors, x, scale, shift, strides, width, eps: eps as f32 })
        }

        pub(super) fn run(&self) -> Result<Tensor> {
            match self.vectors.dtype {
                DType::BF16 => self.launch::<bf16>("rms_norm_modulate_bf16"),
                _ => self.launch::<f32>("rms_norm_modulate_f32"),
            }
        }

        fn launch<T: Element>(&self, name: &str) -> Result<Tensor> {
            let device = self.vectors.device;
            let rows = self.x.elem_count() / self.width;
            if rows == 0 {
                return Ok(self.x.clone());
            }
            let mut out = cuda::alloc_output::<T>(device, rows * self.width)?;
            {
                let [scale, shift] = [self.scale, self.shift].map(|rows| rows.map(Tensor::storage_and_layout));
                let x = self.x.storage_and_layout();
                let scale = cuda::optional_view::<T>(scale.as_ref())?;
                let shift = cuda::optional_view::<T>(shift.as_ref())?;
                let x = cuda::view::<T>(&x.0, x.1)?;
                let width = self.width as i32;
                let kernel = cuda::RMS_MODULATE.kernel(device, name)?;
                let mut launch = kernel.builder();
                launch.arg(&x);
                cuda::optional_arg(&mut launch, scale.as_ref());
                cuda::optional_arg(&mut launch, shift.as_ref());
                launch.arg(&mut out).arg(&width).arg(&self.strides[0]).arg(&self.strides[1]).arg(&self.eps);
                let config = LaunchConfig {
                    grid_dim: (rows as u32, 1, 1),
                    block_dim: (cuda::block_threads(self.width / self.vectors.elements), 1, 1),
                    shared_mem_bytes: 0,
                };
                // SAFETY: these are the parameters of `rms_norm_modulate_*` in order and type. `x` and `out` have a row
                // of `width` elements per block, scale and shift have either as many rows or one with a stride of 0,
                // and `Vectorized` has checked dtype, contiguity and alignment.
                unsafe { launch.launch(config) }.w()?;
            }
            Ok(cuda::tensor(out, device, self.x.shape().clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_device;
    use candle_core::{DType, Device};

    #[test]
    fn rms_norm_without_a_weight_equals_a_weight_of_ones() -> Result<()> {
        let device = test_device()?;
        for (dtype, limit) in [(DType::F32, 1e-5), (DType::BF16, 0.03)] {
            let x = Tensor::randn(0.5f32, 2., (1, 3, 40), &Device::Cpu)?.to_dtype(dtype)?.to_device(&device)?;
            let ones = Tensor::ones(40, dtype, &device)?;
            let difference = (rms_norm(&x, None, 1e-6)? - rms_norm(&x, Some(&ones), 1e-6)?)?.to_dtype(DType::F32)?;
            assert!(difference.abs()?.max_all()?.to_scalar::<f32>()? < limit);
        }
        Ok(())
    }

    #[test]
    fn rms_norm_has_unit_mean_square() -> Result<()> {
        let x = Tensor::randn(3f32, 2., (2, 6, 4, 5), &Device::Cpu)?;
        let mean_square = rms_norm(&x, None, 1e-8)?.sqr()?.mean(3)?;
        assert!((mean_square - 1.)?.abs()?.max_all()?.to_scalar::<f32>()? < 1e-5);
        Ok(())
    }

    #[test]
    fn rms_norm_modulate_equals_the_formula() -> Result<()> {
        let (n, d, eps) = (3, 24, 1e-6);
        let make = |shape: &[usize], mean: f32| Tensor::randn(mean, 1f32, shape, &Device::Cpu);
        let x = make(&[1, n, d], 0.5)?;
        let device = test_device()?;
        for rows in [1, n] {
            let (scale, shift) = (make(&[1, rows, d], 0.)?, make(&[1, rows, d], 0.)?);
            for (dtype, limit) in [(DType::F32, 1e-4), (DType::BF16, 0.3)] {
                let to = |x: &Tensor| x.to_dtype(dtype)?.to_device(&device);
                let got = rms_norm_modulate(&to(&x)?, &to(&scale)?, &to(&shift)?, eps)?;
                let got = got.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
                let flat = |x: &Tensor| x.flatten_all()?.to_vec1::<f32>();
                let (x, scale, shift) = (flat(&x)?, flat(&scale)?, flat(&shift)?);
                for (i, got) in got.iter().enumerate() {
                    let (row, at) = (i / d, if rows == 1 { i % d } else { i });
                    let square = x[row * d..][..d].iter().map(|x| x * x).sum::<f32>() / d as f32;
                    let exact = x[i] / (square + eps as f32).sqrt() * (1. + scale[at]) + shift[at];
                    assert!((got - exact).abs() < limit, "{i}: expected {exact}, found {got}");
                }
            }
        }
        Ok(())
    }
}
