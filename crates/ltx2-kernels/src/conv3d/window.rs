//! Sliding window of a 3-D convolution, shared by the CUDA strategies.

use candle_core::{Result, Tensor};

use crate::padding::Padding;

/// Window that slides with stride 1 over padded video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Frames, height and width.
    pub size: [usize; 3],
    /// Padding of the video.
    pub padding: Padding,
}

impl Window {
    /// Number of window positions over `x (t, c, h, w)` in time, height and width: the output size of the convolution.
    /// 0 in a dimension in which the padded video is smaller than the window.
    pub fn output_size(&self, x: &Tensor) -> Result<[usize; 3]> {
        let [t, _, h, w] = self.padding.padded_dims(x.dims4()?.into());
        let [frames, height, width] = self.size;
        Ok([(t + 1).saturating_sub(frames), (h + 1).saturating_sub(height), (w + 1).saturating_sub(width)])
    }
}

#[cfg(feature = "cuda")]
pub(super) mod on_cuda {
    use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
    use candle_core::{Result, Tensor, bail};

    use super::Window;
    use crate::padding::{FramePadding, Padding};

    /// `window::Video` of `window.cuh`.
    #[repr(C)]
    pub(crate) struct VideoParameters {
        frames: i32,
        channels: i32,
        height: i32,
        width: i32,
    }

    // SAFETY: `repr(C)` with integer fields only, in the order of the C++ struct.
    unsafe impl DeviceRepr for VideoParameters {}

    impl VideoParameters {
        /// Dimensions of `(t, c, h, w)`.
        pub(crate) fn new(dims: [usize; 4]) -> Self {
            let [frames, channels, height, width] = dims.map(|n| n as i32);
            Self { frames, channels, height, width }
        }
    }

    /// `window::Window` of `window.cuh`.
    #[repr(C)]
    pub(crate) struct WindowParameters {
        frames: i32,
        height: i32,
        width: i32,
        before: i32,
        padding: i32,
        reflect: i32,
    }

    // SAFETY: `repr(C)` with integer fields only, in the order of the C++ struct.
    unsafe impl DeviceRepr for WindowParameters {}

    impl From<&Window> for WindowParameters {
        fn from(window: &Window) -> Self {
            let [frames, height, width] = window.size.map(|n| n as i32);
            let Padding { before, spatial, .. } = window.padding;
            let reflect = i32::from(spatial == FramePadding::Reflect);
            Self { frames, height, width, before: before as i32, padding: spatial.width() as i32, reflect }
        }
    }

    /// Fails unless `x`, padded by `padding`, can be convolved to `dims (t', c_out, h', w')` and `bias` and `residual`
    /// can be added, within the limits of the kernels' grids and 32-bit indices.
    pub(crate) fn check_operands(
        x: &Tensor,
        padding: &Padding,
        dims: [usize; 4],
        bias: &Tensor,
        residual: Option<&Tensor>,
    ) -> Result<()> {
        padding.check(x)?;
        let [_, channels, height, width] = dims;
        if bias.dtype() != x.dtype() || bias.elem_count() != channels {
            bail!("conv3d: expected a bias of {channels} values in {:?}, found {bias:?}", x.dtype())
        }
        if let Some(residual) = residual
            && (residual.dims() != dims || residual.dtype() != x.dtype())
        {
            bail!("conv3d: expected a residual {dims:?} in {:?}, found {residual:?}", x.dtype())
        }
        let (_, _, input_height, input_width) = x.dims4()?;
        if channels > 65_535 || (height * width).max(input_height * input_width) > i32::MAX as usize {
            bail!("conv3d: {x:?} to {dims:?} exceeds 65535 channels or 2^31 - 1 pixels per frame")
        }
        Ok(())
    }
}
