//! What a linear layer makes of its input, on the way to what reads it.

use candle_core::{D, DType, Result, Tensor, bail};

/// A linear layer's product, and its bias, which is still to be added: what reads every element of the product can do so
/// on the way, and saves a pass over all of them. What cannot reads the [`sum`](Self::sum).
#[derive(Debug, Clone)]
#[must_use]
pub struct Product {
    /// `(..., d)`.
    pub(crate) y: Tensor,
    /// `(d)`.
    pub(crate) bias: Option<Tensor>,
}

impl Product {
    /// `y (..., d)`, to which `bias (d)` is to be added, if there is one; an error if it is not as wide.
    pub fn new(y: Tensor, bias: Option<Tensor>) -> Result<Self> {
        if let Some(bias) = &bias
            && bias.dims() != [y.dim(D::Minus1)?]
        {
            bail!("a bias of {:?} does not belong to a product of {:?}", bias.shape(), y.shape())
        }
        Ok(Self { y, bias })
    }

    /// With the bias.
    pub fn sum(&self) -> Result<Tensor> {
        let Some(bias) = &self.bias else { return Ok(self.y.clone()) };
        #[cfg(feature = "cuda")]
        if let Some(kernel) = on_cuda::Each::new(&self.y, Some(bias)) {
            return kernel.run(["product_sum_bf16", "product_sum_f32"]);
        }
        self.y.broadcast_add(bias)
    }

    /// The tanh form of GELU of the [`sum`](Self::sum), computed in float32 and rounded once.
    pub fn gelu(&self) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let Some(kernel) = on_cuda::Each::new(&self.y, self.bias.as_ref()) {
            return kernel.run(["product_gelu_bf16", "product_gelu_f32"]);
        }
        self.sum()?.to_dtype(DType::F32)?.gelu()?.to_dtype(self.y.dtype())
    }
}

impl From<Tensor> for Product {
    /// Of a layer without a bias.
    fn from(y: Tensor) -> Self {
        Self { y, bias: None }
    }
}

#[cfg(feature = "cuda")]
mod on_cuda {
    use candle_core::cuda_backend::CudaDType;
    use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
    use candle_core::{D, DType, Result, Tensor};
    use half::bf16;

    use crate::cuda::{self, Packed, PushKernelArg, WrapErr};

    /// Something done to each element.
    pub(super) struct Each<'a> {
        packed: Packed<'a>,
        y: &'a Tensor,
        bias: Option<&'a Tensor>,
        width: usize,
    }

    impl<'a> Each<'a> {
        /// If the kernels compute this.
        pub(super) fn new(y: &'a Tensor, bias: Option<&'a Tensor>) -> Option<Self> {
            let width = y.dim(D::Minus1).ok()?;
            let packed = Packed::new(&[Some(y), bias].into_iter().flatten().collect::<Vec<_>>(), width)?;
            let fits = y.elem_count() / packed.elements <= i32::MAX as usize;
            fits.then_some(Self { packed, y, bias, width })
        }

        /// The kernel is called the first of `names` for bfloat16.
        pub(super) fn run(&self, names: [&str; 2]) -> Result<Tensor> {
            match self.packed.dtype {
                DType::BF16 => self.launch::<bf16>(names[0]),
                _ => self.launch::<f32>(names[1]),
            }
        }

        fn launch<T: CudaDType + DeviceRepr>(&self, name: &str) -> Result<Tensor> {
            let device = self.packed.device;
            let packs = |elements: usize| (elements / self.packed.elements) as u32;
            let (all, row) = (packs(self.y.elem_count()), packs(self.width));
            if all == 0 {
                return Ok(self.y.clone());
            }
            // Every element is written below.
            let mut out = unsafe { device.alloc::<T>(self.y.elem_count())? };
            {
                let (y, bias) = (self.y.storage_and_layout(), self.bias.map(Tensor::storage_and_layout));
                let (y, bias) = (cuda::view::<T>(&y.0, y.1)?, cuda::view_if_any::<T>(bias.as_ref())?);
                let kernel = cuda::PRODUCT.kernel(device, name)?;
                let mut launch = kernel.builder();
                launch.arg(&y);
                cuda::arg_if_any(&mut launch, bias.as_ref());
                launch.arg(&mut out).arg(&all).arg(&row);
                unsafe { launch.launch(cuda::over(all)) }.w()?;
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
    fn equals_the_formulas() -> Result<()> {
        let (rows, d) = (5, 24);
        let (y, bias) =
            (Tensor::randn(0f32, 2., (1, rows, d), &Device::Cpu)?, Tensor::randn(0f32, 1., d, &Device::Cpu)?);
        let device = test_device()?;
        for (dtype, limit) in [(DType::F32, 1e-5), (DType::BF16, 0.05)] {
            let to = |x: &Tensor| x.to_dtype(dtype)?.to_device(&device);
            let flat = |x: &Tensor| x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
            for bias in [None, Some(&bias)] {
                let product = Product::new(to(&y)?, bias.map(to).transpose()?)?;
                let (sum, gelu) = (product.sum()?, product.gelu()?);
                assert_eq!((sum.dims(), gelu.dims(), gelu.dtype()), (y.dims(), y.dims(), dtype));
                let exact = bias.map_or(Ok(y.clone()), |bias| y.broadcast_add(bias))?;
                for ((sum, gelu), x) in flat(&sum)?.into_iter().zip(flat(&gelu)?).zip(flat(&exact)?) {
                    assert!((sum - x).abs() < limit, "{sum}, not {x}");
                    let wide = f64::from(x);
                    let tanh = ((2. / std::f64::consts::PI).sqrt() * (wide + 0.044715 * wide.powi(3))).tanh();
                    let exact = (wide / 2. * (1. + tanh)) as f32;
                    assert!((gelu - exact).abs() < limit, "{gelu}, not {exact}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_bias_of_another_width_is_refused() -> Result<()> {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu);
        let error = Product::new(zeros(&[2, 3])?, Some(zeros(&[1])?)).unwrap_err();
        assert!(error.to_string().contains("[1] does not belong"), "{error}");
        Ok(())
    }
}
