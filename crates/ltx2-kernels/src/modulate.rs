//! Adaptive norm: a root-mean-square norm, scaled and shifted by what the noise level sets.

use candle_core::{Result, Tensor};

use crate::norm::rms_norm;

/// `rms_norm(x) (1 + scale) + shift` over the last dimension of `x (..., d)`; `scale` and `shift` broadcast to it.
pub fn rms_norm_modulate(x: &Tensor, scale: &Tensor, shift: &Tensor, eps: f64) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(kernel) = on_cuda::Modulate::new(x, Some((scale, shift)), eps) {
        return kernel.run();
    }
    modulate(&rms_norm(x, None, eps)?, scale, shift)
}

/// `x (1 + scale) + shift`.
pub fn modulate(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    x.broadcast_mul(&(scale + 1.0)?)?.broadcast_add(shift)
}

#[cfg(feature = "cuda")]
pub(crate) mod on_cuda {
    use candle_core::cuda_backend::CudaDType;
    use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
    use candle_core::{D, DType, Result, Tensor};
    use half::bf16;

    use crate::cuda::{self, LaunchConfig, Packed, PushKernelArg, WrapErr};

    /// The norm, with a modulation or without.
    pub(crate) struct Modulate<'a> {
        packed: Packed<'a>,
        x: &'a Tensor,
        scale: Option<&'a Tensor>,
        shift: Option<&'a Tensor>,
        /// How far apart their rows are.
        steps: [i64; 2],
        width: usize,
        eps: f32,
    }

    impl<'a> Modulate<'a> {
        /// If the kernel computes this.
        pub(crate) fn new(x: &'a Tensor, modulation: Option<(&'a Tensor, &'a Tensor)>, eps: f64) -> Option<Self> {
            let width = x.dim(D::Minus1).ok()?;
            let (scale, shift) = modulation.unzip();
            let packed = Packed::new(&[Some(x), scale, shift].into_iter().flatten().collect::<Vec<_>>(), width)?;
            let step = |rows: Option<&Tensor>| rows.map_or(Some(0), |rows| cuda::row_step(x, rows)).map(|n| n as i64);
            Some(Self { packed, x, scale, shift, steps: [step(scale)?, step(shift)?], width, eps: eps as f32 })
        }

        pub(crate) fn run(&self) -> Result<Tensor> {
            match self.packed.dtype {
                DType::BF16 => self.launch::<bf16>("rms_norm_modulate_bf16"),
                _ => self.launch::<f32>("rms_norm_modulate_f32"),
            }
        }

        fn launch<T: CudaDType + DeviceRepr>(&self, name: &str) -> Result<Tensor> {
            let device = self.packed.device;
            let rows = self.x.elem_count() / self.width;
            if rows == 0 {
                return Ok(self.x.clone());
            }
            // Every element is written below.
            let mut out = unsafe { device.alloc::<T>(rows * self.width)? };
            {
                let [scale, shift] = [self.scale, self.shift].map(|rows| rows.map(Tensor::storage_and_layout));
                let x = self.x.storage_and_layout();
                let (scale, shift) = (cuda::view_if_any::<T>(scale.as_ref())?, cuda::view_if_any::<T>(shift.as_ref())?);
                let x = cuda::view::<T>(&x.0, x.1)?;
                let width = self.width as i32;
                let kernel = cuda::MODULATE.kernel(device, name)?;
                let mut launch = kernel.builder();
                launch.arg(&x);
                cuda::arg_if_any(&mut launch, scale.as_ref());
                cuda::arg_if_any(&mut launch, shift.as_ref());
                launch.arg(&mut out).arg(&width).arg(&self.steps[0]).arg(&self.steps[1]).arg(&self.eps);
                let config = LaunchConfig {
                    grid_dim: (rows as u32, 1, 1),
                    block_dim: (cuda::threads(self.width / self.packed.elements), 1, 1),
                    shared_mem_bytes: 0,
                };
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
    fn equals_the_formula() -> Result<()> {
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
                    assert!((got - exact).abs() < limit, "{i}: {got}, not {exact}");
                }
            }
        }
        Ok(())
    }
}
