//! Layer norm without weight or bias.

use candle_core::{D, Result, Tensor};

use crate::rounding::rounded_once;

/// Layer norm over the last dimension of `x`, without weight or bias.
pub fn layer_norm(x: &Tensor, eps: f64) -> Result<Tensor> {
    let width = x.dim(D::Minus1)?;
    rounded_once(x, |x| {
        let ones = Tensor::ones(width, x.dtype(), x.device())?;
        candle_nn::ops::layer_norm(&x.contiguous()?, &ones, &ones.zeros_like()?, eps as f32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn layer_norm_has_zero_mean_and_unit_mean_square() -> Result<()> {
        let x = Tensor::randn(3f32, 2., (2, 6, 4, 5), &Device::Cpu)?;
        let y = layer_norm(&x, 1e-8)?;
        assert!(y.mean(3)?.abs()?.max_all()?.to_scalar::<f32>()? < 1e-5);
        let error = (y.sqr()?.mean(3)? - 1.)?.abs()?.max_all()?.to_scalar::<f32>()?;
        assert!(error < 1e-4, "{error}");
        Ok(())
    }
}
