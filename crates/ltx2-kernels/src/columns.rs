//! What a 3-D convolution multiplies its weights by (im2col).

use std::ops::Range;

use candle_core::{Result, Tensor};

/// A window that slides over frames, with zeros around each frame but none before the first or after the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Frames, height and width.
    pub size: [usize; 3],
    /// Zeros on all sides of a frame.
    pub padding: usize,
}

impl Window {
    /// How many places there are over `x (t, c, h, w)`: in time, down and across. None in a direction where it does not fit.
    pub fn places(&self, x: &Tensor) -> Result<[usize; 3]> {
        let (t, _, h, w) = x.dims4()?;
        let [frames, height, width] = self.size;
        let around = 2 * self.padding;
        Ok([
            (t + 1).saturating_sub(frames),
            (h + around + 1).saturating_sub(height),
            (w + around + 1).saturating_sub(width),
        ])
    }

    /// What stands in the window at its places `frames` and `lines`, all of them across: `x (t, c, h, w)` to
    /// `(frames, c * window, lines * w')`.
    pub fn columns(&self, x: &Tensor, frames: Range<usize>, lines: Range<usize>) -> Result<Tensor> {
        let places = self.places(x)?;
        let fits = |range: &Range<usize>, places: usize| range.start < range.end && range.end <= places;
        if !fits(&frames, places[0]) || !fits(&lines, places[1]) || places[2] == 0 {
            candle_core::bail!("frames {frames:?} and lines {lines:?} are not all of the {places:?} places of {self:?}")
        }
        let x = x.contiguous()?;
        #[cfg(feature = "cuda")]
        if let candle_core::Device::Cuda(device) = x.device() {
            return on_cuda::columns(self, device, &x, [frames, lines], places[2]);
        }
        self.plain(&x, frames, lines, places[2])
    }

    fn plain(&self, x: &Tensor, frames: Range<usize>, lines: Range<usize>, across: usize) -> Result<Tensor> {
        let [time, height, width] = self.size;
        let (count, length) = (frames.len(), lines.len() * across);
        let x = x.narrow(0, frames.start, count + time - 1)?;
        let x = x.pad_with_zeros(2, self.padding, self.padding)?.pad_with_zeros(3, self.padding, self.padding)?;
        let mut rows = Vec::with_capacity(time * height * width);
        for place in 0..time * height * width {
            let (k, dy, dx) = (place / (height * width), place / width % height, place % width);
            rows.push(x.narrow(0, k, count)?.narrow(2, lines.start + dy, lines.len())?.narrow(3, dx, across)?);
        }
        Tensor::stack(&rows, 2)?.reshape((count, x.dim(1)? * rows.len(), length))
    }
}

#[cfg(feature = "cuda")]
mod on_cuda {
    use std::ops::Range;

    use candle_core::cuda_backend::CudaDType;
    use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
    use candle_core::{CudaDevice, DType, Result, Tensor, bail};
    use half::bf16;

    use super::Window;
    use crate::cuda::{self, LaunchConfig, PushKernelArg, WrapErr};

    /// Channels, height and width.
    #[repr(C)]
    struct Video([i32; 3]);
    /// Frames, height, width and padding.
    #[repr(C)]
    struct Slid([i32; 4]);
    /// First frame, first line, lines and length of a line.
    #[repr(C)]
    struct Part([i32; 4]);

    // All are plain numbers, laid out as the kernel's own.
    unsafe impl DeviceRepr for Video {}
    unsafe impl DeviceRepr for Slid {}
    unsafe impl DeviceRepr for Part {}

    pub(super) fn columns(
        window: &Window,
        device: &CudaDevice,
        x: &Tensor,
        places: [Range<usize>; 2],
        across: usize,
    ) -> Result<Tensor> {
        match (x.dtype(), across % 8, across % 4) {
            (DType::BF16, 0, _) => launch::<bf16>(("columns_16x8", 8), window, device, x, places, across),
            (DType::BF16, ..) => launch::<bf16>(("columns_16x1", 1), window, device, x, places, across),
            (DType::F32, _, 0) => launch::<f32>(("columns_32x4", 4), window, device, x, places, across),
            (DType::F32, ..) => launch::<f32>(("columns_32x1", 1), window, device, x, places, across),
            (other, ..) => bail!("a 3-D convolution on a card takes bfloat16 or float32, not {other:?}"),
        }
    }

    fn launch<T: CudaDType + DeviceRepr>(
        (name, at_once): (&str, usize),
        window: &Window,
        device: &CudaDevice,
        x: &Tensor,
        [frames, lines]: [Range<usize>; 2],
        across: usize,
    ) -> Result<Tensor> {
        const THREADS: usize = 256;
        let (_, c, h, w) = x.dims4()?;
        let [time, height, width] = window.size;
        let shape = (frames.len(), c * time * height * width, lines.len() * across);
        if c * time > 65_535 || frames.len() > 65_535 {
            bail!("a 3-D convolution of {c} channels and {} frames at once: at most 65535", frames.len())
        }
        let numbers = |n: usize| n as i32;
        let video = Video([c, h, w].map(numbers));
        let slid = Slid([time, height, width, window.padding].map(numbers));
        let part = Part([frames.start, lines.start, lines.len(), across].map(numbers));
        // Every element is written below.
        let mut out = unsafe { device.alloc::<T>(shape.0 * shape.1 * shape.2)? };
        {
            let x = x.storage_and_layout();
            let x = cuda::view::<T>(&x.0, x.1)?;
            let kernel = cuda::COLUMNS.kernel(device, name)?;
            let mut launch = kernel.builder();
            launch.arg(&x).arg(&mut out).arg(&video).arg(&slid).arg(&part);
            let config = LaunchConfig {
                grid_dim: ((shape.2 / at_once).div_ceil(THREADS) as u32, (c * time) as u32, frames.len() as u32),
                block_dim: (THREADS as u32, 1, 1),
                shared_mem_bytes: 0,
            };
            unsafe { launch.launch(config) }.w()?;
        }
        Ok(cuda::tensor(out, device, shape.into()))
    }
}
