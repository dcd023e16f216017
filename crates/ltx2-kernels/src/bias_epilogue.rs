//! Output of a linear layer with its bias still to be added, and the kernels that add it while they read the output.

use candle_core::{D, DType, Result, Tensor, bail};

/// Output of a linear layer without its bias.
///
/// A consumer that reads every element once fuses the bias add and saves a pass over memory; others call
/// [`sum`](Self::sum).
#[derive(Debug, Clone)]
#[must_use]
pub struct PendingBias {
    /// `(..., d)`.
    pub(crate) y: Tensor,
    /// `(d)`.
    pub(crate) bias: Option<Tensor>,
}

impl PendingBias {
    /// Combines `y (..., d)` with the `bias (d)` to be added. Fails if their widths differ.
    pub fn new(y: Tensor, bias: Option<Tensor>) -> Result<Self> {
        if let Some(bias) = &bias
            && bias.dims() != [y.dim(D::Minus1)?]
        {
            bail!("expected a bias as wide as the last dimension of {:?}, found {:?}", y.shape(), bias.shape())
        }
        Ok(Self { y, bias })
    }

    /// Returns `y + bias`.
    pub fn sum(&self) -> Result<Tensor> {
        let Some(bias) = &self.bias else { return Ok(self.y.clone()) };
        #[cfg(feature = "cuda")]
        if let Some(kernel) = on_cuda::BiasEpilogue::new(&self.y, Some(bias)) {
            return kernel.run(["bias_sum_bf16", "bias_sum_f32"]);
        }
        self.y.broadcast_add(bias)
    }

    /// Returns `gelu(y + bias)` with the tanh approximation, computed in float32 and rounded once.
    pub fn gelu(&self) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let Some(kernel) = on_cuda::BiasEpilogue::new(&self.y, self.bias.as_ref()) {
            return kernel.run(["bias_gelu_bf16", "bias_gelu_f32"]);
        }
        self.sum()?.to_dtype(DType::F32)?.gelu()?.to_dtype(self.y.dtype())
    }
}

impl From<Tensor> for PendingBias {
    /// Output of a layer without a bias.
    fn from(y: Tensor) -> Self {
        Self { y, bias: None }
    }
}

#[cfg(feature = "cuda")]
mod on_cuda {
    use candle_core::{D, DType, Result, Tensor};
    use half::bf16;

    use crate::cuda::{self, Element, PushKernelArg, Vectorized, WrapErr};

    /// Launch of an elementwise kernel of `bias_epilogue.cu`.
    pub(super) struct BiasEpilogue<'a> {
        vectors: Vectorized<'a>,
        y: &'a Tensor,
        bias: Option<&'a Tensor>,
        width: usize,
    }

    impl<'a> BiasEpilogue<'a> {
        /// Returns `None` if the kernels do not support the operands. `bias` is as wide as `y`.
        pub(super) fn new(y: &'a Tensor, bias: Option<&'a Tensor>) -> Option<Self> {
            let width = y.dim(D::Minus1).ok()?;
            let vectors = Vectorized::new(&[Some(y), bias].into_iter().flatten().collect::<Vec<_>>(), width)?;
            let fits = y.elem_count() / vectors.elements <= i32::MAX as usize;
            fits.then_some(Self { vectors, y, bias, width })
        }

        /// Runs the first of `names` for bfloat16, the second for float32.
        pub(super) fn run(&self, names: [&str; 2]) -> Result<Tensor> {
            match self.vectors.dtype {
                DType::BF16 => self.launch::<bf16>(names[0]),
                _ => self.launch::<f32>(names[1]),
            }
        }

        fn launch<T: Element>(&self, name: &str) -> Result<Tensor> {
            let device = self.vectors.device;
            let vectors = |elements: usize| (elements / self.vectors.elements) as u32;
            let (all, row) = (vectors(self.y.elem_count()), vectors(self.width));
            if all == 0 {
                return Ok(self.y.clone());
            }
            let mut out = cuda::alloc_output::<T>(device, self.y.elem_count())?;
            {
                let (y, bias) = (self.y.storage_and_layout(), self.bias.map(Tensor::storage_and_layout));
                let (y, bias) = (cuda::view::<T>(&y.0, y.1)?, cuda::optional_view::<T>(bias.as_ref())?);
                let kernel = cuda::BIAS_EPILOGUE.kernel(device, name)?;
                let mut launch = kernel.builder();
                launch.arg(&y);
                cuda::optional_arg(&mut launch, bias.as_ref());
                launch.arg(&mut out).arg(&all).arg(&row);
                // SAFETY: these are the parameters of `bias_*` in order and type. `y` and `out` have `all` vectors, the
                // bias has `row`, and `Vectorized` has checked dtype, contiguity and alignment.
                unsafe { launch.launch(cuda::one_thread_per_item(all)) }.w()?;
            }
            Ok(cuda::tensor(out, device, self.y.shape().clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_device;
    use candle_core::Device;

    #[test]
    fn sum_and_gelu_equal_their_formulas() -> Result<()> {
        let (rows, d) = (5, 24);
        let (y, bias) =
            (Tensor::randn(0f32, 2., (1, rows, d), &Device::Cpu)?, Tensor::randn(0f32, 1., d, &Device::Cpu)?);
        let device = test_device()?;
        for (dtype, limit) in [(DType::F32, 1e-5), (DType::BF16, 0.05)] {
            let to = |x: &Tensor| x.to_dtype(dtype)?.to_device(&device);
            let flat = |x: &Tensor| x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
            for bias in [None, Some(&bias)] {
                let pending = PendingBias::new(to(&y)?, bias.map(to).transpose()?)?;
                let (sum, gelu) = (pending.sum()?, pending.gelu()?);
                assert_eq!((sum.dims(), gelu.dims(), gelu.dtype()), (y.dims(), y.dims(), dtype));
                let exact = bias.map_or(Ok(y.clone()), |bias| y.broadcast_add(bias))?;
                for ((sum, gelu), x) in flat(&sum)?.into_iter().zip(flat(&gelu)?).zip(flat(&exact)?) {
                    assert!((sum - x).abs() < limit, "expected {x}, found {sum}");
                    let wide = f64::from(x);
                    let tanh = ((2. / std::f64::consts::PI).sqrt() * (wide + 0.044715 * wide.powi(3))).tanh();
                    let exact = (wide / 2. * (1. + tanh)) as f32;
                    assert!((gelu - exact).abs() < limit, "expected {exact}, found {gelu}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn new_refuses_a_bias_of_another_width() -> Result<()> {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu);
        let error = PendingBias::new(zeros(&[2, 3])?, Some(zeros(&[1])?)).unwrap_err();
        assert!(error.to_string().contains("expected a bias as wide as"), "{error}");
        assert!(error.to_string().contains("found [1]"), "{error}");
        Ok(())
    }
}
