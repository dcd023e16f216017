//! Upsampling of audio samples by an integer ratio (`UpSample1d` with a Hann window).

use candle_core::{DType, Device, Result, Tensor};
use ltx2_kernels::depthwise_conv_transpose1d;

use crate::layers::hann_sinc_filter;

/// Windowed-sinc upsampler. Its filter is computed, not read from a checkpoint.
#[derive(Debug)]
pub(super) struct UpSample1d {
    /// `(1, 1, 2 · width · ratio + 1)`.
    filter: Tensor,
    ratio: usize,
    /// Number of input samples that the filter covers on each side.
    width: usize,
}

impl UpSample1d {
    pub(super) fn new(ratio: usize, dtype: DType, device: &Device) -> Result<Self> {
        let filter = hann_sinc_filter(ratio);
        let (taps, width) = (filter.taps, filter.width);
        let filter = Tensor::from_vec(taps, (1, 1, 2 * width * ratio + 1), device)?.to_dtype(dtype)?;
        Ok(Self { filter, ratio, width })
    }

    /// `(b, c, l)` to `(b, c, l · ratio)`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let length = x.dim(2)?;
        let x = x.pad_with_same(2, self.width, self.width)?;
        let full = (depthwise_conv_transpose1d(&x, &self.filter, self.ratio)? * self.ratio as f64)?;
        full.narrow(2, 2 * self.width * self.ratio, length * self.ratio)
    }
}
