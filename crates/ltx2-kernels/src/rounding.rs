//! Rounding of plain forms on a CPU.

use candle_core::{DType, Result, Tensor};

/// Applies `f` to `x` and rounds the result once to the dtype of `x`. candle's CPU operations round every intermediate
/// value of bfloat16 operands, so there `f` is applied in float32; on a GPU they round once by themselves.
pub fn rounded_once(x: &Tensor, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    match x.device().is_cpu() && x.dtype() == DType::BF16 {
        true => f(&x.to_dtype(DType::F32)?)?.to_dtype(DType::BF16),
        false => f(x),
    }
}

/// SiLU of `x`, rounded once.
pub fn silu(x: &Tensor) -> Result<Tensor> {
    rounded_once(x, Tensor::silu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn bfloat16_is_rounded_once() -> Result<()> {
        let x = Tensor::randn(0f32, 2., 1000, &Device::Cpu)?.to_dtype(DType::BF16)?;
        let exact = x.to_dtype(DType::F32)?.silu()?.to_dtype(DType::BF16)?;
        let differing = silu(&x)?.ne(&exact)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()?;
        assert_eq!(differing, 0.0);
        Ok(())
    }
}
