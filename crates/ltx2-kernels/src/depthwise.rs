//! Depthwise convolutions with one filter for all channels, for resampling and blurring. bfloat16 on a CPU is computed
//! in float32 and rounded once.

use candle_core::{Result, Tensor};

use crate::conv::{conv_transpose1d, conv1d_strided, in_supported_dtype};

/// 1-D convolution of `x (n, c, l)` with `filter (1, 1, k)`, without padding, to `(n, c, (l - k) / stride + 1)`.
pub fn depthwise_conv1d(x: &Tensor, filter: &Tensor, stride: usize) -> Result<Tensor> {
    let (n, c, l) = x.dims3()?;
    conv1d_strided(&x.reshape((n * c, 1, l))?, filter, stride)?.reshape((n, c, ()))
}

/// Transposed 1-D convolution of `x (n, c, l)` with `filter (1, 1, k)`, to `(n, c, (l - 1) stride + k)`.
pub fn depthwise_conv_transpose1d(x: &Tensor, filter: &Tensor, stride: usize) -> Result<Tensor> {
    let (n, c, l) = x.dims3()?;
    conv_transpose1d(&x.reshape((n * c, 1, l))?, filter, stride)?.reshape((n, c, ()))
}

/// 2-D convolution of `x (n, c, h, w)` with `filter (1, 1, k, k)` and `k / 2` zeros on all sides, to
/// `(n, c, ⌈h / stride⌉, ⌈w / stride⌉)` for odd `k`.
pub fn depthwise_conv2d(x: &Tensor, filter: &Tensor, stride: usize) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let padding = filter.dim(3)? / 2;
    let single = x.reshape((n * c, 1, h, w))?;
    let y = in_supported_dtype(&single, filter, |x, filter| x.conv2d(filter, padding, stride, 1, 1))?;
    let (_, _, h, w) = y.dims4()?;
    y.reshape((n, c, h, w))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn depthwise_convolutions_apply_the_filter_to_every_channel() -> Result<()> {
        let device = Device::Cpu;
        let x = Tensor::randn(0f32, 1., (2, 3, 9), &device)?;
        let filter = Tensor::randn(0f32, 1., (1, 1, 4), &device)?;
        let (down, up) = (depthwise_conv1d(&x, &filter, 2)?, depthwise_conv_transpose1d(&x, &filter, 3)?);
        let image = Tensor::randn(0f32, 1., (2, 3, 5, 6), &device)?;
        let blur = Tensor::randn(0f32, 1., (1, 1, 5, 5), &device)?;
        let blurred = depthwise_conv2d(&image, &blur, 2)?;
        assert_eq!(
            (down.dims(), up.dims(), blurred.dims()),
            ([2, 3, 3].as_slice(), [2, 3, 28].as_slice(), [2, 3, 3, 3].as_slice())
        );
        for c in 0..3 {
            let alone = |x: &Tensor| x.narrow(1, c, 1)?.contiguous();
            let error = |a: Tensor, b: Tensor| (a - b)?.abs()?.max_all()?.to_scalar::<f32>();
            assert!(error(alone(&down)?, alone(&x)?.conv1d(&filter, 0, 2, 1, 1)?)? < 1e-6);
            assert!(error(alone(&up)?, alone(&x)?.conv_transpose1d(&filter, 0, 0, 3, 1, 1)?)? < 1e-6);
            assert!(error(alone(&blurred)?, alone(&image)?.conv2d(&blur, 2, 2, 1, 1)?)? < 1e-5);
        }
        assert_eq!(
            depthwise_conv1d(&x.to_dtype(DType::BF16)?, &filter.to_dtype(DType::BF16)?, 2)?.dtype(),
            DType::BF16
        );
        Ok(())
    }
}
