//! Residual connection, with or without a gate (`residual.cu`).

use candle_core::{Result, Tensor};

use crate::PendingBias;

/// `x + y`, for `x` and `y (..., d)`.
pub fn residual(x: &Tensor, y: &PendingBias) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(kernel) = on_cuda::Residual::new(x, y, None) {
        return kernel.run();
    }
    x + y.sum()?
}

/// `x + gate y`, for `x` and `y (..., d)`. `gate` broadcasts to them.
pub fn gated_residual(x: &Tensor, y: &PendingBias, gate: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(kernel) = on_cuda::Residual::new(x, y, Some(gate)) {
        return kernel.run();
    }
    x + y.sum()?.broadcast_mul(gate)?
}

#[cfg(feature = "cuda")]
mod on_cuda {
    use candle_core::{D, DType, Result, Tensor};
    use half::bf16;

    use crate::PendingBias;
    use crate::cuda::{self, Element, PushKernelArg, Vectorized, WrapErr};

    /// Launch of `residual_*`.
    pub(super) struct Residual<'a> {
        vectors: Vectorized<'a>,
        x: &'a Tensor,
        y: &'a Tensor,
        bias: Option<&'a Tensor>,
        gate: Option<&'a Tensor>,
        width: usize,
    }

    impl<'a> Residual<'a> {
        /// Returns `None` if the kernel does not support the operands.
        pub(super) fn new(
            x: &'a Tensor,
            PendingBias { y, bias }: &'a PendingBias,
            gate: Option<&'a Tensor>,
        ) -> Option<Self> {
            let (width, bias) = (x.dim(D::Minus1).ok()?, bias.as_ref());
            let operands = [Some(x), Some(y), bias, gate];
            let vectors = Vectorized::new(&operands.into_iter().flatten().collect::<Vec<_>>(), width)?;
            if let Some(gate) = gate {
                cuda::row_stride(x, gate)?;
            }
            let fits = x.dims() == y.dims() && x.elem_count() / vectors.elements <= i32::MAX as usize;
            fits.then_some(Self { vectors, x, y, bias, gate, width })
        }

        pub(super) fn run(&self) -> Result<Tensor> {
            match self.vectors.dtype {
                DType::BF16 => self.launch::<bf16>("residual_bf16"),
                _ => self.launch::<f32>("residual_f32"),
            }
        }

        fn launch<T: Element>(&self, name: &str) -> Result<Tensor> {
            let device = self.vectors.device;
            let vectors = |elements: usize| (elements / self.vectors.elements) as u32;
            let (all, row) = (vectors(self.x.elem_count()), vectors(self.width));
            let gates = vectors(self.gate.map_or(0, Tensor::elem_count));
            if all == 0 {
                return Ok(self.x.clone());
            }
            let mut out = cuda::alloc_output::<T>(device, self.x.elem_count())?;
            {
                let (x, y) = (self.x.storage_and_layout(), self.y.storage_and_layout());
                let [bias, gate] = [self.bias, self.gate].map(|tensor| tensor.map(Tensor::storage_and_layout));
                let (x, y) = (cuda::view::<T>(&x.0, x.1)?, cuda::view::<T>(&y.0, y.1)?);
                let bias = cuda::optional_view::<T>(bias.as_ref())?;
                let gate = cuda::optional_view::<T>(gate.as_ref())?;
                let kernel = cuda::RESIDUAL.kernel(device, name)?;
                let mut launch = kernel.builder();
                launch.arg(&x).arg(&y);
                cuda::optional_arg(&mut launch, bias.as_ref());
                cuda::optional_arg(&mut launch, gate.as_ref());
                launch.arg(&mut out).arg(&all).arg(&row).arg(&gates);
                // SAFETY: these are the parameters of `residual_*` in order and type. `x`, `y` and `out` have `all`
                // vectors, the bias has `row`, the gate `gates`, which is `all`, `row` or 0, and `Vectorized` has
                // checked dtype, contiguity and alignment.
                unsafe { launch.launch(cuda::one_thread_per_item(all)) }.w()?;
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
    fn residuals_equal_the_formula() -> Result<()> {
        let (n, d) = (5, 16);
        let make = |rows: usize| Tensor::randn(0f32, 1., (1, rows, d), &Device::Cpu);
        let (x, y, bias) = (make(n)?, make(n)?, make(1)?.flatten_all()?);
        let device = test_device()?;
        for (gates, bias) in [(Some(1), Some(&bias)), (Some(n), Some(&bias)), (None, Some(&bias)), (Some(n), None)] {
            let gate = gates.map(make).transpose()?;
            for (dtype, limit) in [(DType::F32, 1e-4), (DType::BF16, 0.3)] {
                let to = |x: &Tensor| x.to_dtype(dtype)?.to_device(&device);
                let pending = PendingBias::new(to(&y)?, bias.map(to).transpose()?)?;
                let got = match &gate {
                    Some(gate) => gated_residual(&to(&x)?, &pending, &to(gate)?)?,
                    None => residual(&to(&x)?, &pending)?,
                };
                let flat = |x: &Tensor| x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
                let (x, y) = (flat(&x)?, flat(&y)?);
                let bias = bias.map_or(Ok(vec![0.; d]), flat)?;
                let gate = gate.as_ref().map_or(Ok(vec![1.; d]), flat)?;
                for (i, got) in flat(&got)?.iter().enumerate() {
                    let exact = x[i] + (y[i] + bias[i % d]) * gate[i % gate.len()];
                    assert!((got - exact).abs() < limit, "{i}: expected {exact}, found {got}");
                }
            }
        }
        Ok(())
    }
}
