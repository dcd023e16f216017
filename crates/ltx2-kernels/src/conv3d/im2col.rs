//! 3-D convolution as a matrix product with im2col columns: `im2col.cu`, cuBLAS and `add_bias.cu` on CUDA, and a
//! reference of the column matrix.

use std::ops::Range;

use candle_core::{Result, Tensor};

use super::window::Window;

/// Slice of a convolution's output: ranges of frames and rows, full width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSlice {
    /// Output frames.
    pub frames: Range<usize>,
    /// Output rows of each of these frames.
    pub rows: Range<usize>,
}

impl OutputSlice {
    /// Splits an output of `[frames, height, width]` into slices of at most `max_positions` positions: whole frames if
    /// they fit, else about equal ranges of rows of one frame. A slice has at least one row.
    #[cfg(any(feature = "cuda", test))]
    pub(crate) fn split([frames, height, width]: [usize; 3], max_positions: usize) -> Vec<Self> {
        if frames * height * width == 0 {
            return Vec::new();
        }
        let slices_per_frame = height.div_ceil((max_positions / width).max(1));
        let rows = height.div_ceil(slices_per_frame);
        let frames_per_slice =
            if slices_per_frame > 1 { 1 } else { (max_positions / (height * width)).clamp(1, frames) };
        let starts = (0..frames)
            .step_by(frames_per_slice)
            .flat_map(|frame| (0..height).step_by(rows).map(move |row| (frame, row)));
        starts
            .map(|(frame, row)| Self {
                frames: frame..frames.min(frame + frames_per_slice),
                rows: row..height.min(row + rows),
            })
            .collect()
    }
}

/// Reference of the im2col matrix for `slice` of the output: `x (t, c, h, w)` to `(frames, c * window, rows * w')`.
///
/// Fails if `slice` is empty or outside of the output.
pub fn im2col(window: &Window, x: &Tensor, slice: &OutputSlice) -> Result<Tensor> {
    let output = window.output_size(x)?;
    let fits = |range: &Range<usize>, size: usize| range.start < range.end && range.end <= size;
    if !fits(&slice.frames, output[0]) || !fits(&slice.rows, output[1]) || output[2] == 0 {
        candle_core::bail!("im2col: expected a non-empty slice of the output {output:?}, found {slice:?}")
    }
    let [time, height, width] = window.size;
    let (frames, rows) = (slice.frames.len(), slice.rows.len());
    let x = window.padding.apply(x)?.narrow(0, slice.frames.start, frames + time - 1)?;
    let mut taps = Vec::with_capacity(time * height * width);
    for tap in 0..time * height * width {
        let (k, dy, dx) = (tap / (height * width), tap / width % height, tap % width);
        let shifted = x.narrow(0, k, frames)?.narrow(2, slice.rows.start + dy, rows)?;
        taps.push(shifted.narrow(3, dx, output[2])?);
    }
    Tensor::stack(&taps, 2)?.reshape((frames, x.dim(1)? * taps.len(), rows * output[2]))
}

#[cfg(feature = "cuda")]
pub(super) mod on_cuda {
    use candle_core::cuda_backend::cudarc::cublas::sys::cublasOperation_t::CUBLAS_OP_N;
    use candle_core::cuda_backend::cudarc::cublas::{CudaBlas, Gemm, GemmConfig, StridedBatchedConfig};
    use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, DeviceRepr};
    use candle_core::{CudaDevice, DType, Device, Result, Tensor, WithDType, bail};
    use half::bf16;

    use super::{OutputSlice, Window};
    use crate::conv3d::window::on_cuda::{VideoParameters, WindowParameters, check_operands};
    use crate::cuda::{self, Element, LaunchConfig, PushKernelArg, WrapErr};

    const THREADS: usize = 256;

    /// `im2col::Slice` of `im2col.cu`.
    #[repr(C)]
    struct SliceParameters {
        first_frame: i32,
        first_row: i32,
        rows: i32,
        width: i32,
    }

    // SAFETY: `repr(C)` with integer fields only, in the order of the C++ struct.
    unsafe impl DeviceRepr for SliceParameters {}

    /// Convolution by im2col, with the bias and an optional residual added to each slice while it is in the L2 cache.
    #[derive(Clone, Copy)]
    pub(crate) struct Im2col<'a> {
        pub(crate) window: Window,
        /// `(c_out, c_in * window)`.
        pub(crate) matrix: &'a Tensor,
        /// `c_out` values.
        pub(crate) bias: &'a Tensor,
        /// Of the shape of the result.
        pub(crate) residual: Option<&'a Tensor>,
    }

    /// The result `(t', channels, h', w')` under construction.
    struct Output<T> {
        device: CudaDevice,
        values: CudaSlice<T>,
        channels: usize,
        /// `[t', h', w']`.
        size: [usize; 3],
    }

    impl<T> Output<T> {
        /// Elements of a channel of a frame.
        fn plane(&self) -> usize {
            self.size[1] * self.size[2]
        }

        /// Index of the first element of `slice`.
        fn offset(&self, slice: &OutputSlice) -> usize {
            slice.frames.start * self.channels * self.plane() + slice.rows.start * self.size[2]
        }
    }

    impl Im2col<'_> {
        /// Convolves `x (t, c_in, h, w)` slice by slice, with at most `max_bytes` of columns at a time.
        pub(crate) fn forward(&self, x: &Tensor, max_bytes: usize) -> Result<Tensor> {
            let x = x.contiguous()?;
            let residual = self.residual.map(Tensor::contiguous).transpose()?;
            let contiguous = Im2col { residual: residual.as_ref(), ..*self };
            match x.dtype() {
                DType::BF16 => contiguous.run::<bf16>(&x, max_bytes),
                DType::F32 => contiguous.run::<f32>(&x, max_bytes),
                other => bail!("conv3d on CUDA: expected bfloat16 or float32, found {other:?}"),
            }
        }

        fn run<T: Element + WithDType>(&self, x: &Tensor, max_bytes: usize) -> Result<Tensor>
        where
            CudaBlas: Gemm<T>,
        {
            let Device::Cuda(device) = x.device() else { bail!("conv3d: expected a CUDA tensor, found {x:?}") };
            let (channels, depth) = self.matrix.dims2()?;
            let size = self.window.output_size(x)?;
            let dims = [size[0], channels, size[1], size[2]];
            let window: usize = self.window.size.iter().product();
            if x.dim(1)? * window != depth || self.matrix.dtype() != x.dtype() {
                bail!("conv3d: input {x:?} does not match the weights {:?}", self.matrix)
            }
            check_operands(x, &self.window.padding, dims, self.bias, self.residual)?;
            let slices = OutputSlice::split(size, max_bytes / (depth * size_of::<T>()).max(1));
            let positions = |slice: &OutputSlice| slice.frames.len() * slice.rows.len() * size[2];
            let Some(largest) = slices.iter().map(positions).max() else {
                return Tensor::zeros(&dims, x.dtype(), x.device());
            };
            let values = cuda::alloc_output::<T>(device, dims.iter().product())?;
            let mut out = Output { device: device.clone(), values, channels, size };
            let mut columns = cuda::alloc_output::<T>(device, largest * depth)?;
            {
                let (storage, layout) = x.storage_and_layout();
                let input = cuda::view::<T>(&storage, layout)?;
                for slice in &slices {
                    self.gather_columns(&input, x.dims4()?.into(), slice, &mut columns, &out)?;
                    self.multiply(&columns, slice, &mut out)?;
                    self.add_bias(slice, &mut out)?;
                }
            }
            Ok(cuda::tensor(out.values, device, dims.to_vec().into()))
        }

        /// Writes the columns of `slice`, `(frames, c_in * window, rows * w')`, to the start of `columns`.
        fn gather_columns<T: Element>(
            &self,
            x: &CudaView<'_, T>,
            dims: [usize; 4],
            slice: &OutputSlice,
            columns: &mut CudaSlice<T>,
            out: &Output<T>,
        ) -> Result<()> {
            let (frames, rows, width) = (slice.frames.len(), slice.rows.len(), out.size[2]);
            let grid_rows = dims[1] * self.window.size[0];
            if grid_rows > 65_535 || frames > 65_535 {
                bail!(
                    "conv3d: expected at most 65535 channels times window frames and 65535 frames, found {grid_rows} \
                     and {frames}"
                )
            }
            let (name, vector) = match (size_of::<T>(), width % 8, width % 4) {
                (2, 0, _) => ("im2col_16x8", 8),
                (2, ..) => ("im2col_16x1", 1),
                (_, _, 0) => ("im2col_32x4", 4),
                _ => ("im2col_32x1", 1),
            };
            let (video, window) = (VideoParameters::new(dims), WindowParameters::from(&self.window));
            let [first_frame, first_row, rows_i32, width_i32] =
                [slice.frames.start, slice.rows.start, rows, width].map(|n| n as i32);
            let part = SliceParameters { first_frame, first_row, rows: rows_i32, width: width_i32 };
            let kernel = cuda::IM2COL.kernel(&out.device, name)?;
            let mut launch = kernel.builder();
            launch.arg(x).arg(columns).arg(&video).arg(&window).arg(&part);
            let config = LaunchConfig {
                grid_dim: ((rows * width / vector).div_ceil(THREADS) as u32, grid_rows as u32, frames as u32),
                block_dim: (THREADS as u32, 1, 1),
                shared_mem_bytes: 0,
            };
            // SAFETY: these are the parameters of `im2col_*` in order and type; values are only moved, so the element
            // size in the name is what counts. `x` is contiguous with `dims`, `check_operands` accepted its padding,
            // and `slice` is inside the output, so every read is inside `x`. `columns` has room for the largest slice,
            // and `vector` divides the width and with it the offset of every vector store.
            unsafe { launch.launch(config) }.w()?;
            Ok(())
        }

        /// Writes the product of the weight matrix and the columns of `slice` to its place in `out`.
        fn multiply<T: Element + WithDType>(
            &self,
            columns: &CudaSlice<T>,
            slice: &OutputSlice,
            out: &mut Output<T>,
        ) -> Result<()>
        where
            CudaBlas: Gemm<T>,
        {
            let depth = self.matrix.dim(1)?;
            let (length, plane) = (slice.rows.len() * out.size[2], out.plane());
            // cuBLAS is column-major: a row-major matrix is its own transpose there, so the operands are swapped.
            let gemm = GemmConfig {
                transa: CUBLAS_OP_N,
                transb: CUBLAS_OP_N,
                m: length as i32,
                n: out.channels as i32,
                k: depth as i32,
                alpha: T::from_f64(1.),
                lda: length as i32,
                ldb: depth as i32,
                beta: T::from_f64(0.),
                ldc: plane as i32,
            };
            let config = StridedBatchedConfig {
                gemm,
                batch_size: slice.frames.len() as i32,
                stride_a: (depth * length) as i64,
                stride_b: 0,
                stride_c: (out.channels * plane) as i64,
            };
            let (storage, layout) = self.matrix.storage_and_layout();
            let matrix = cuda::view::<T>(&storage, layout)?;
            let offset = out.offset(slice);
            let mut values = out.values.slice_mut(offset..);
            // SAFETY: `columns` holds `(frames, depth, length)`, the matrix is contiguous `(channels, depth)`, and
            // frame `i` of the slice is written to rows of `length` elements, `plane` apart, inside frame `i` of
            // `values`.
            unsafe { out.device.cublas_handle().gemm_strided_batched(config, columns, &matrix, &mut values) }.w()
        }

        /// Adds the bias and the residual to `slice` of `out` in place.
        fn add_bias<T: Element>(&self, slice: &OutputSlice, out: &mut Output<T>) -> Result<()> {
            let (width, plane, offset) = (out.size[2], out.plane(), out.offset(slice));
            let residual_offset = self.residual.map_or(0, |residual| residual.layout().start_offset());
            let aligned = |vector: usize| width.is_multiple_of(vector) && residual_offset.is_multiple_of(vector);
            let (name, vector) = match size_of::<T>() {
                2 if aligned(8) => ("conv3d_add_bias_bf16x8", 8),
                2 => ("conv3d_add_bias_bf16x1", 1),
                _ if aligned(4) => ("conv3d_add_bias_f32x4", 4),
                _ => ("conv3d_add_bias_f32x1", 1),
            };
            let vectors = (slice.rows.len() * width / vector) as u32;
            let step = (plane / vector) as u32;
            let bias = self.bias.storage_and_layout();
            let bias = cuda::view::<T>(&bias.0, bias.1)?;
            let residual = self.residual.map(Tensor::storage_and_layout);
            let residual = cuda::optional_view::<T>(residual.as_ref())?;
            let residual = residual.as_ref().map(|residual| residual.slice(offset..));
            let mut values = out.values.slice_mut(offset..);
            let kernel = cuda::ADD_BIAS.kernel(&out.device, name)?;
            let mut launch = kernel.builder();
            launch.arg(&mut values).arg(&bias);
            cuda::optional_arg(&mut launch, residual.as_ref());
            launch.arg(&vectors).arg(&step);
            let config = LaunchConfig {
                grid_dim: (vectors.div_ceil(THREADS as u32), out.channels as u32, slice.frames.len() as u32),
                block_dim: (THREADS as u32, 1, 1),
                shared_mem_bytes: 0,
            };
            // SAFETY: these are the parameters of `conv3d_add_bias_*` in order and type. The slice's rows of every
            // channel and frame of the grid are inside `values` and the contiguous residual of the same shape, `bias`
            // has a value per channel, and `vector` divides the width and every offset, so vector accesses are aligned.
            unsafe { launch.launch(config) }.w()?;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_covers_every_position_once() {
        for size in [[5, 7, 3], [1, 1, 1], [4, 6, 5], [3, 0, 2]] {
            for most in [1, 3, 9, 14, 20, 21, 44, 1000] {
                let mut seen = vec![0; size.iter().product()];
                for slice in OutputSlice::split(size, most) {
                    let count = slice.frames.len() * slice.rows.len() * size[2];
                    assert!(count <= most || (slice.frames.len(), slice.rows.len()) == (1, 1), "{size:?} {slice:?}");
                    for frame in slice.frames {
                        for row in slice.rows.clone() {
                            let first = (frame * size[1] + row) * size[2];
                            seen[first..first + size[2]].iter_mut().for_each(|times| *times += 1);
                        }
                    }
                }
                assert!(seen.iter().all(|times| *times == 1), "{size:?} {most}");
            }
        }
    }
}
