//! candle's 1-D and 2-D convolutions, extended to bfloat16 on a CPU: computed in float32 and rounded once.

use candle_core::{DType, Result, Tensor};

use crate::conv1d_cpu::conv1d_blocked;

/// 2-D convolution of `x (n, c_in, h, w)` with `weight (c_out, c_in, kh, kw)`, stride 1 and `padding` zeros on all
/// sides.
pub fn conv2d(x: &Tensor, weight: &Tensor, padding: usize) -> Result<Tensor> {
    in_supported_dtype(x, weight, |x, weight| x.conv2d(weight, padding, 1, 1, 1))
}

/// 2-D convolution of `x (n, c_in, h, w)` with `weight (c_out, c_in, kh, kw)`, without padding.
pub fn conv2d_strided(x: &Tensor, weight: &Tensor, stride: usize) -> Result<Tensor> {
    in_supported_dtype(x, weight, |x, weight| x.conv2d(weight, 0, stride, 1, 1))
}

/// 1-D convolution of `x (n, c_in, l)` with `weight (c_out, c_in, k)`, stride 1 and `padding` zeros on both sides.
pub fn conv1d(x: &Tensor, weight: &Tensor, padding: usize, dilation: usize) -> Result<Tensor> {
    in_supported_dtype(x, weight, |x, weight| match (x.device().is_cpu(), x.dtype()) {
        (true, DType::F32) => conv1d_blocked(x, weight, padding, dilation),
        _ => x.conv1d(weight, padding, 1, dilation, 1),
    })
}

/// 1-D convolution of `x (n, c_in, l)` with `weight (c_out, c_in, k)`, without padding, to `(n, c_out, (l - k) / stride
/// + 1)`.
pub fn conv1d_strided(x: &Tensor, weight: &Tensor, stride: usize) -> Result<Tensor> {
    in_supported_dtype(x, weight, |x, weight| x.conv1d(weight, 0, stride, 1, 1))
}

/// Transposed 1-D convolution of `x (n, c_in, l)` with `weight (c_in, c_out, k)`, to `(n, c_out, (l - 1) stride + k)`.
pub fn conv_transpose1d(x: &Tensor, weight: &Tensor, stride: usize) -> Result<Tensor> {
    in_supported_dtype(x, weight, |x, weight| x.conv_transpose1d(weight, 0, 0, stride, 1, 1))
}

/// Runs `conv`, in float32 for bfloat16 on a CPU.
pub(crate) fn in_supported_dtype(
    x: &Tensor,
    weight: &Tensor,
    conv: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let x = x.contiguous()?;
    if x.device().is_cpu() && x.dtype() == DType::BF16 {
        return conv(&x.to_dtype(DType::F32)?, &weight.to_dtype(DType::F32)?)?.to_dtype(DType::BF16);
    }
    conv(&x, weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn bfloat16_equals_float32_rounded_once() -> Result<()> {
        let make = |shape: &[usize]| Tensor::randn(0f32, 1., shape, &Device::Cpu)?.to_dtype(DType::BF16);
        let same = |bf16: Tensor, f32: Tensor| -> Result<()> {
            assert_eq!(bf16.dtype(), DType::BF16);
            let difference = (bf16.to_dtype(DType::F32)? - f32.to_dtype(DType::BF16)?.to_dtype(DType::F32)?)?;
            assert_eq!(difference.abs()?.max_all()?.to_scalar::<f32>()?, 0.);
            Ok(())
        };
        let wide = |x: &Tensor| x.to_dtype(DType::F32);
        let (x, w) = (make(&[2, 3, 8, 8])?, make(&[4, 3, 3, 3])?);
        same(conv2d(&x, &w, 1)?, conv2d(&wide(&x)?, &wide(&w)?, 1)?)?;
        let (x, w) = (make(&[1, 3, 16])?, make(&[3, 3, 5])?);
        same(conv1d(&x, &w, 4, 2)?, conv1d(&wide(&x)?, &wide(&w)?, 4, 2)?)?;
        same(conv_transpose1d(&x, &w, 2)?, conv_transpose1d(&wide(&x)?, &wide(&w)?, 2)?)
    }
}
