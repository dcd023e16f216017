//! What a 3-D convolution multiplies its weights by (im2col).

use std::ops::Range;

use candle_core::{Result, Tensor};

use crate::pad::Padding;

/// A window that slides over padded frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Frames, height and width.
    pub size: [usize; 3],
    /// What it sees beyond the video.
    pub padding: Padding,
}

/// Some of a window's places: of some frames some lines, all of them across.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Which in time.
    pub frames: Range<usize>,
    /// Which down.
    pub lines: Range<usize>,
}

impl Window {
    /// How many places there are over `x (t, c, h, w)`: in time, down and across. None in a direction where it does not fit.
    pub fn places(&self, x: &Tensor) -> Result<[usize; 3]> {
        let [t, _, h, w] = self.padding.grown(x.dims4()?.into());
        let [frames, height, width] = self.size;
        Ok([(t + 1).saturating_sub(frames), (h + 1).saturating_sub(height), (w + 1).saturating_sub(width)])
    }

    /// What stands in the window at the places of `part`: `x (t, c, h, w)` to `(frames, c * window, lines * w')`. By copies:
    /// a convolution on a card has a kernel for it.
    pub fn columns(&self, x: &Tensor, part: &Part) -> Result<Tensor> {
        let places = self.places(x)?;
        let fits = |range: &Range<usize>, places: usize| range.start < range.end && range.end <= places;
        if !fits(&part.frames, places[0]) || !fits(&part.lines, places[1]) || places[2] == 0 {
            candle_core::bail!("{part:?} is not all of the {places:?} places of {self:?}")
        }
        let [time, height, width] = self.size;
        let (count, length) = (part.frames.len(), part.lines.len() * places[2]);
        let x = self.padding.apply(x)?.narrow(0, part.frames.start, count + time - 1)?;
        let mut rows = Vec::with_capacity(time * height * width);
        for place in 0..time * height * width {
            let (k, dy, dx) = (place / (height * width), place / width % height, place % width);
            let lines = x.narrow(0, k, count)?.narrow(2, part.lines.start + dy, part.lines.len())?;
            rows.push(lines.narrow(3, dx, places[2])?);
        }
        Tensor::stack(&rows, 2)?.reshape((count, x.dim(1)? * rows.len(), length))
    }
}

impl Part {
    /// All of `places`, in parts of as many frames as have at most `most` places, or of as many lines of one frame; of one
    /// line where it has more.
    #[cfg(any(feature = "cuda", test))]
    pub(crate) fn all([frames, height, width]: [usize; 3], most: usize) -> Vec<Self> {
        if frames * height * width == 0 {
            return Vec::new();
        }
        // Parts of a frame are of about the same size.
        let parts = height.div_ceil((most / width).max(1));
        let lines = height.div_ceil(parts);
        let at_once = if parts > 1 { 1 } else { (most / (height * width)).clamp(1, frames) };
        let starts =
            (0..frames).step_by(at_once).flat_map(|first| (0..height).step_by(lines).map(move |top| (first, top)));
        let part =
            |(first, top)| Self { frames: first..frames.min(first + at_once), lines: top..height.min(top + lines) };
        starts.map(part).collect()
    }
}

#[cfg(feature = "cuda")]
pub(crate) mod on_cuda {
    use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, DeviceRepr};
    use candle_core::{CudaDevice, Result, bail};

    use super::{Part, Window};
    use crate::cuda::{self, LaunchConfig, PushKernelArg, WrapErr};
    use crate::pad::Around;

    /// Frames, channels, height and width.
    #[repr(C)]
    pub(crate) struct Video([i32; 4]);
    /// Frames, height, width, frames before the first, padding, and whether that mirrors.
    #[repr(C)]
    pub(crate) struct Slid([i32; 6]);
    /// First frame, first line, lines and length of a line.
    #[repr(C)]
    struct Place([i32; 4]);

    // All are plain numbers, laid out as the kernel's own.
    unsafe impl DeviceRepr for Video {}
    unsafe impl DeviceRepr for Slid {}
    unsafe impl DeviceRepr for Place {}

    impl Video {
        /// That of `(t, c, h, w)`.
        pub(crate) fn of(dims: [usize; 4]) -> Self {
            Self(dims.map(|n| n as i32))
        }
    }

    impl Slid {
        /// As kernels take it.
        pub(crate) fn of(window: &Window) -> Self {
            let [time, height, width] = window.size;
            let (padding, mirrored) = match window.padding.around {
                Around::Zeros(count) => (count, 0),
                Around::Reflect => (1, 1),
            };
            Self([time, height, width, window.padding.before, padding, mirrored].map(|n| n as i32))
        }
    }

    /// Writes the columns of `part` of `x` to the start of `out`; lines of places are `across` long.
    pub(crate) fn write<T: DeviceRepr>(
        window: &Window,
        (x, dims): (&CudaView<'_, T>, [usize; 4]),
        (part, across): (&Part, usize),
        (device, out): (&CudaDevice, &mut CudaSlice<T>),
    ) -> Result<()> {
        const THREADS: usize = 256;
        let (frames, lines) = (part.frames.len(), part.lines.len());
        let rows = dims[1] * window.size[0];
        if rows > 65_535 || frames > 65_535 {
            bail!("a 3-D convolution of {} channels and {frames} frames at once: at most 65535", dims[1])
        }
        let (name, at_once) = match (size_of::<T>(), across % 8, across % 4) {
            (2, 0, _) => ("columns_16x8", 8),
            (2, ..) => ("columns_16x1", 1),
            (_, _, 0) => ("columns_32x4", 4),
            _ => ("columns_32x1", 1),
        };
        let (video, slid) = (Video::of(dims), Slid::of(window));
        let place = Place([part.frames.start, part.lines.start, lines, across].map(|n| n as i32));
        let kernel = cuda::COLUMNS.kernel(device, name)?;
        let mut launch = kernel.builder();
        launch.arg(x).arg(out).arg(&video).arg(&slid).arg(&place);
        let config = LaunchConfig {
            grid_dim: ((lines * across / at_once).div_ceil(THREADS) as u32, rows as u32, frames as u32),
            block_dim: (THREADS as u32, 1, 1),
            shared_mem_bytes: 0,
        };
        unsafe { launch.launch(config) }.w()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_all_places_once() {
        for places in [[5, 7, 3], [1, 1, 1], [4, 6, 5], [3, 0, 2]] {
            for most in [1, 3, 9, 14, 20, 21, 44, 1000] {
                let mut seen = vec![0; places.iter().product()];
                for part in Part::all(places, most) {
                    let count = part.frames.len() * part.lines.len() * places[2];
                    assert!(count <= most || (part.frames.len(), part.lines.len()) == (1, 1), "{places:?} {part:?}");
                    for frame in part.frames {
                        for line in part.lines.clone() {
                            let first = (frame * places[1] + line) * places[2];
                            seen[first..first + places[2]].iter_mut().for_each(|times| *times += 1);
                        }
                    }
                }
                assert!(seen.iter().all(|times| *times == 1), "{places:?} {most}");
            }
        }
    }
}
