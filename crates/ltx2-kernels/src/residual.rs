//! The residual connection of a modulated layer.

use candle_core::{Result, Tensor};

/// `x + gate y`, for `x` and `y (..., d)`; `gate` broadcasts to them.
pub fn gated_residual(x: &Tensor, y: &Tensor, gate: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(kernel) = on_cuda::Gated::new(x, y, gate) {
        return kernel.run();
    }
    x + y.broadcast_mul(gate)?
}

#[cfg(feature = "cuda")]
mod on_cuda {
    use candle_core::cuda_backend::CudaDType;
    use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
    use candle_core::{D, DType, Result, Tensor};
    use half::bf16;

    use crate::cuda::{self, LaunchConfig, Packed, PushKernelArg, WrapErr};

    pub(super) struct Gated<'a> {
        packed: Packed<'a>,
        x: &'a Tensor,
        y: &'a Tensor,
        gate: &'a Tensor,
    }

    impl<'a> Gated<'a> {
        /// If the kernel computes this.
        pub(super) fn new(x: &'a Tensor, y: &'a Tensor, gate: &'a Tensor) -> Option<Self> {
            let packed = Packed::new(&[x, y, gate], x.dim(D::Minus1).ok()?)?;
            cuda::row_step(x, gate)?;
            let fits = x.dims() == y.dims() && x.elem_count() / packed.elements <= i32::MAX as usize;
            fits.then_some(Self { packed, x, y, gate })
        }

        pub(super) fn run(&self) -> Result<Tensor> {
            match self.packed.dtype {
                DType::BF16 => self.launch::<bf16>("gated_residual_bf16"),
                _ => self.launch::<f32>("gated_residual_f32"),
            }
        }

        fn launch<T: CudaDType + DeviceRepr>(&self, name: &str) -> Result<Tensor> {
            const THREADS: u32 = 256;
            let device = self.packed.device;
            let packs = |x: &Tensor| (x.elem_count() / self.packed.elements) as u32;
            let (all, gates) = (packs(self.x), packs(self.gate));
            if all == 0 {
                return Ok(self.x.clone());
            }
            // Every element is written below.
            let mut out = unsafe { device.alloc::<T>(self.x.elem_count())? };
            {
                let (x, y) = (self.x.storage_and_layout(), self.y.storage_and_layout());
                let gate = self.gate.storage_and_layout();
                let (x, y) = (cuda::view::<T>(&x.0, x.1)?, cuda::view::<T>(&y.0, y.1)?);
                let gate = cuda::view::<T>(&gate.0, gate.1)?;
                let kernel = cuda::RESIDUAL.kernel(device, name)?;
                let mut launch = kernel.builder();
                launch.arg(&x).arg(&y).arg(&gate).arg(&mut out).arg(&all).arg(&gates);
                let config = LaunchConfig {
                    grid_dim: (all.div_ceil(THREADS), 1, 1),
                    block_dim: (THREADS, 1, 1),
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
        let (n, d) = (5, 16);
        let make = |rows: usize| Tensor::randn(0f32, 1., (1, rows, d), &Device::Cpu);
        let (x, y) = (make(n)?, make(n)?);
        let device = test_device()?;
        for rows in [1, n] {
            let gate = make(rows)?;
            for (dtype, limit) in [(DType::F32, 1e-4), (DType::BF16, 0.3)] {
                let to = |x: &Tensor| x.to_dtype(dtype)?.to_device(&device);
                let got = gated_residual(&to(&x)?, &to(&y)?, &to(&gate)?)?;
                let got = got.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
                let flat = |x: &Tensor| x.flatten_all()?.to_vec1::<f32>();
                let (x, y, gate) = (flat(&x)?, flat(&y)?, flat(&gate)?);
                for (i, got) in got.iter().enumerate() {
                    let exact = x[i] + y[i] * gate[i % gate.len()];
                    assert!((got - exact).abs() < limit, "{i}: {got}, not {exact}");
                }
            }
        }
        Ok(())
    }
}
