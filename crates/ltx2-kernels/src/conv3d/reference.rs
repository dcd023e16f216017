//! 3-D convolution as a sum of candle's 2-D convolutions, one per temporal tap.

use candle_core::{Result, Tensor};

use crate::conv::conv2d;
use crate::padding::{FramePadding, Padding};

/// Splits `weight (c_out, c_in, kt, kh, kw)` into `kt` 2-D kernels `(c_out, c_in, kh, kw)`. A broadcast scalar, as in a
/// network without weights, is not copied.
pub(super) fn split_taps(weight: &Tensor) -> Result<Vec<Tensor>> {
    let (_, _, time, _, _) = weight.dims5()?;
    let is_scalar = weight.stride().iter().all(|stride| *stride == 0);
    let tap = |k| weight.narrow(2, k, 1)?.squeeze(2);
    (0..time).map(|k| if is_scalar { tap(k) } else { tap(k)?.contiguous() }).collect()
}

/// Pads and convolves `x (t, c_in, h, w)`: output frame `i` is the sum over the taps `k` of the 2-D convolution of
/// frame `i + k`. Frames are outermost, so a tap reads a contiguous slice and nothing is copied in time.
pub(super) fn convolve(taps: &[Tensor], x: &Tensor, padding: &Padding) -> Result<Tensor> {
    let zeros = match padding.spatial {
        FramePadding::Zeros(count) => count,
        FramePadding::Reflect => 0,
    };
    let x = padding.apply_except_zeros(x)?;
    let frames = x.dim(0)? + 1 - taps.len();
    let mut sum: Option<Tensor> = None;
    for (k, tap) in taps.iter().enumerate() {
        let y = conv2d(&x.narrow(0, k, frames)?, tap, zeros)?;
        sum = Some(match sum {
            Some(sum) => (sum + y)?,
            None => y,
        });
    }
    Ok(sum.expect("a kernel has at least one tap"))
}
