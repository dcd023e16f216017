//! Normalisations without learnt parameters, or with a weight alone.

use candle_core::{D, Result, Tensor};

/// Root-mean-square norm over the last dimension, times `weight` if there is one. Computed in float32.
pub fn rms_norm(x: &Tensor, weight: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if weight.is_none()
        && let Some(kernel) = crate::modulate::on_cuda::Modulate::new(x, None, eps)
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
    candle_nn::ops::rms_norm(&x.contiguous()?, weight, eps as f32)
}

/// Layer norm over the last dimension without weight or bias.
pub fn layer_norm(x: &Tensor, eps: f64) -> Result<Tensor> {
    let width = x.dim(D::Minus1)?;
    let ones = Tensor::ones(width, x.dtype(), x.device())?;
    candle_nn::ops::layer_norm(&x.contiguous()?, &ones, &ones.zeros_like()?, eps as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_device;
    use candle_core::{DType, Device};

    #[test]
    fn no_weight_is_a_weight_of_one() -> Result<()> {
        let device = test_device()?;
        for (dtype, limit) in [(DType::F32, 1e-5), (DType::BF16, 0.03)] {
            let x = Tensor::randn(0.5f32, 2., (1, 3, 40), &Device::Cpu)?.to_dtype(dtype)?.to_device(&device)?;
            let ones = Tensor::ones(40, dtype, &device)?;
            let apart = (rms_norm(&x, None, 1e-6)? - rms_norm(&x, Some(&ones), 1e-6)?)?.to_dtype(DType::F32)?;
            assert!(apart.abs()?.max_all()?.to_scalar::<f32>()? < limit);
        }
        Ok(())
    }

    #[test]
    fn unit_root_mean_square() -> Result<()> {
        let x = Tensor::randn(3f32, 2., (2, 6, 4, 5), &Device::Cpu)?;
        let spread =
            |x: Tensor, dim: usize| -> Result<f32> { (x.sqr()?.mean(dim)? - 1.)?.abs()?.max_all()?.to_scalar() };
        assert!(spread(rms_norm(&x, None, 1e-8)?, 3)? < 1e-5);
        let flat = layer_norm(&x, 1e-8)?;
        assert!(flat.mean(3)?.abs()?.max_all()?.to_scalar::<f32>()? < 1e-5);
        assert!(spread(flat, 3)? < 1e-4);
        Ok(())
    }
}
