//! 3-D convolution as an implicit GEMM on tensor cores (`implicit_gemm.cu`): weight layout, heuristic and launch.

use candle_core::{DType, Result, Tensor};

/// Input channels per step of the kernel.
const CHANNELS: usize = 32;
/// Output channels per block, one kernel each.
const ROWS: [usize; 2] = [128, 64];

/// bf16 FLOP per byte of memory bandwidth (datasheets: A100 153, H100 295, L40S 419).
const FLOP_PER_BYTE: usize = 256;
/// Assumed time of the kernel relative to cuBLAS for the same FLOP: from sm_90 on cuBLAS uses faster instructions.
const SLOWDOWN: usize = 2;

/// bf16 weights of a convolution with a `kt`x3x3 window, in the order in which the kernel reads them.
#[derive(Debug, Clone)]
pub struct TiledWeights {
    /// `(ceil(c_out / rows), ceil(c_in / 32), taps, 4, rows, 8)`, padded with zero channels.
    pub weights: Tensor,
    /// Output channels per block: 64 or 128.
    pub rows: usize,
    /// Output channels, input channels and window frames of the convolution.
    pub dims: [usize; 3],
}

impl TiledWeights {
    /// Reorders `weight (c_out, c_in, kt, 3, 3)`. Fails unless it is bfloat16 and `c_in` is a multiple of 8.
    pub fn new(weight: &Tensor) -> Result<Self> {
        let (c_out, c_in, frames, _, _) = weight.dims5()?;
        if !is_supported(weight) {
            candle_core::bail!("conv3d: expected bfloat16 weights (c_out, 8 n, t, 3, 3), found {weight:?}")
        }
        let (rows, taps) = (rows_for(c_out), 9 * frames);
        let (tiles, chunks) = (c_out.div_ceil(rows), c_in.div_ceil(CHANNELS));
        let weights = weight
            .reshape((c_out, c_in, taps))?
            .pad_with_zeros(0, 0, tiles * rows - c_out)?
            .pad_with_zeros(1, 0, chunks * CHANNELS - c_in)?
            .reshape((tiles, rows, chunks, CHANNELS / 8, 8, taps))?
            .permute((0, 2, 5, 3, 1, 4))?
            .contiguous()?;
        Ok(Self { weights, rows, dims: [c_out, c_in, frames] })
    }

    /// Roofline estimate: whether the kernel supports `weight (c_out, c_in, kt, kh, kw)` and is at least as fast as
    /// im2col and cuBLAS.
    ///
    /// Per position, im2col writes and reads `window * c_in` values of 2 bytes, which costs as much as `4 *
    /// FLOP_PER_BYTE` FLOP for each of them, in addition to the `2 * c_out` FLOP of the product. The kernel has only
    /// the product, but slower and with both channel counts rounded up. Without rounding the limit is 512 output
    /// channels.
    pub fn is_faster_than_im2col(weight: &Tensor) -> bool {
        let &[c_out, c_in, ..] = weight.dims() else { return false };
        let (padded_out, padded_in) = (c_out.next_multiple_of(rows_for(c_out)), c_in.next_multiple_of(CHANNELS));
        is_supported(weight) && SLOWDOWN * 2 * padded_out * padded_in <= c_in * (4 * FLOP_PER_BYTE + 2 * c_out)
    }
}

/// Whether the kernel can read `weight`, and 8 channels of the input at a time.
fn is_supported(weight: &Tensor) -> bool {
    let is_window = matches!(weight.dims(), &[_, c_in, _, 3, 3] if c_in.is_multiple_of(8));
    is_window && weight.dtype() == DType::BF16
}

/// Output channels per block with the least padding; of equals the larger.
fn rows_for(c_out: usize) -> usize {
    ROWS.into_iter().min_by_key(|rows| c_out.next_multiple_of(*rows)).expect("there are two row counts")
}

/// Base-2 logarithm of the tile width, 8, 16 or 32 of a tile's 256 positions: the width that covers a frame with the
/// fewest tiles. Of equals the widest, which has the longest contiguous rows.
#[cfg(any(feature = "cuda", test))]
fn log2_tile_width([height, width]: [usize; 2]) -> u32 {
    let tiles = |log2_width: u32| width.div_ceil(1 << log2_width) * height.div_ceil(256 >> log2_width);
    [5, 4, 3].into_iter().min_by_key(|log2_width| tiles(*log2_width)).expect("there are three widths")
}

#[cfg(feature = "cuda")]
pub(super) mod on_cuda {
    use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr};
    use candle_core::{CudaDevice, DType, Device, Result, Tensor, bail};
    use half::bf16;

    use super::{TiledWeights, log2_tile_width};
    use crate::conv3d::window::Window;
    use crate::conv3d::window::on_cuda::{VideoParameters, WindowParameters, check_operands};
    use crate::cuda::{self, LaunchConfig, PushKernelArg, WrapErr};
    use crate::padding::Padding;

    const THREADS: u32 = 256;
    /// Output positions of a tile.
    const POSITIONS: usize = 256;

    /// `implicit_gemm::Output` of `implicit_gemm.cu`.
    #[repr(C)]
    struct OutputParameters {
        channels: i32,
        height: i32,
        width: i32,
        log2_tile_width: i32,
        vector: i32,
    }

    // SAFETY: `repr(C)` with integer fields only, in the order of the C++ struct.
    unsafe impl DeviceRepr for OutputParameters {}

    /// `shared_bytes` of `implicit_gemm.cu`: two input tiles of 32 channels and the weights of two rows of three taps.
    fn shared_bytes(rows: usize) -> u32 {
        (2 * (10 * 34 * 32 * 2) + 2 * (3 * rows * 32 * 2)) as u32
    }

    /// Convolution by implicit GEMM, with the bias and an optional residual added in the epilogue.
    pub(crate) struct ImplicitGemm<'a> {
        pub(crate) weights: &'a TiledWeights,
        pub(crate) padding: Padding,
        /// `c_out` values.
        pub(crate) bias: &'a Tensor,
        /// Of the shape of the result.
        pub(crate) residual: Option<&'a Tensor>,
    }

    impl ImplicitGemm<'_> {
        /// Convolves `x (t, c_in, h, w)`, bfloat16.
        pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
            let Device::Cuda(device) = x.device() else { bail!("conv3d: expected a CUDA tensor, found {x:?}") };
            let [c_out, c_in, frames] = self.weights.dims;
            let window = Window { size: [frames, 3, 3], padding: self.padding };
            let [time, height, width] = window.output_size(x)?;
            let dims = [time, c_out, height, width];
            if x.dim(1)? != c_in || x.dtype() != DType::BF16 || time > 65_535 {
                bail!(
                    "conv3d: expected {c_in} bfloat16 channels and at most 65535 output frames, found {x:?} to {dims:?}"
                )
            }
            check_operands(x, &self.padding, dims, self.bias, self.residual)?;
            if dims.contains(&0) {
                return Tensor::zeros(&dims, x.dtype(), x.device());
            }
            let (x, residual) = (x.contiguous()?, self.residual.map(Tensor::contiguous).transpose()?);
            let mut out = cuda::alloc_output::<bf16>(device, dims.iter().product())?;
            self.launch(device, &x, residual.as_ref(), &window, &mut out)?;
            Ok(cuda::tensor(out, device, dims.to_vec().into()))
        }

        /// Writes the whole result to `out`. `x` and `residual` are contiguous.
        fn launch(
            &self,
            device: &CudaDevice,
            x: &Tensor,
            residual: Option<&Tensor>,
            window: &Window,
            out: &mut CudaSlice<bf16>,
        ) -> Result<()> {
            let (rows, c_out) = (self.weights.rows, self.weights.dims[0]);
            let [time, height, width] = window.output_size(x)?;
            let log2_tile_width = log2_tile_width([height, width]);
            let tiles = width.div_ceil(1 << log2_tile_width) * height.div_ceil(POSITIONS >> log2_tile_width);
            let residual_offset = residual.map_or(0, |residual| residual.layout().start_offset());
            let vector = if width.is_multiple_of(8) && residual_offset.is_multiple_of(8) { 8 } else { 1 };
            let [channels, height, width] = [c_out, height, width].map(|n| n as i32);
            let output = OutputParameters { channels, height, width, log2_tile_width: log2_tile_width as i32, vector };
            let (video, window) = (VideoParameters::new(x.dims4()?.into()), WindowParameters::from(window));
            let [x, weights, bias] = [x, &self.weights.weights, self.bias].map(Tensor::storage_and_layout);
            let (x, weights) = (cuda::view::<bf16>(&x.0, x.1)?, cuda::view::<bf16>(&weights.0, weights.1)?);
            let bias = cuda::view::<bf16>(&bias.0, bias.1)?;
            let residual = residual.map(Tensor::storage_and_layout);
            let residual = cuda::optional_view::<bf16>(residual.as_ref())?;
            let kernel = cuda::IMPLICIT_GEMM.kernel(device, &format!("conv3d_implicit_gemm_{rows}"))?;
            kernel.allow_shared(shared_bytes(rows))?;
            let mut launch = kernel.builder();
            launch.arg(&x).arg(&weights).arg(&bias);
            cuda::optional_arg(&mut launch, residual.as_ref());
            launch.arg(out).arg(&video).arg(&window).arg(&output);
            let config = LaunchConfig {
                grid_dim: (tiles as u32, c_out.div_ceil(rows) as u32, time as u32),
                block_dim: (THREADS, 1, 1),
                shared_mem_bytes: shared_bytes(rows),
            };
            // SAFETY: these are the parameters of `conv3d_implicit_gemm_*` in order and type. `x`, `residual` and `out`
            // are contiguous with the shapes in `video` and `output` and the grid's frames, `weights` have the layout
            // for `rows` that `TiledWeights::new` makes, `bias` has a value per channel, and `vector` divides the width
            // and every offset. The shared memory is what `shared_bytes` of the CUDA file asks for.
            unsafe { launch.launch(config) }.w()?;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn tile_width_minimizes_the_number_of_tiles() {
        let sizes =
            [([128, 192], 5), ([32, 48], 4), ([8, 12], 5), ([64, 8], 3), ([120, 176], 4), ([9, 40], 4), ([1, 1], 5)];
        for (size, log2_width) in sizes {
            assert_eq!(log2_tile_width(size), log2_width, "{size:?}");
        }
    }

    #[test]
    fn heuristic_selects_implicit_gemm_only_where_im2col_costs_more() -> Result<()> {
        let selects = |c_out: usize, c_in: usize, size: usize, dtype: DType| -> Result<bool> {
            let weight = Tensor::zeros((c_out, c_in, 3, size, size), dtype, &Device::Cpu)?;
            Ok(TiledWeights::is_faster_than_im2col(&weight))
        };
        for (c_out, c_in) in [(128, 128), (48, 128), (512, 512), (512, 256), (128, 48), (129, 1024)] {
            assert!(selects(c_out, c_in, 3, DType::BF16)?, "{c_out} {c_in}");
        }
        // Too many output channels, too few input channels, not a multiple of 8, unsupported dtype, unsupported window.
        for (c_out, c_in, size, dtype) in [
            (640, 128, 3, DType::BF16),
            (1024, 1024, 3, DType::BF16),
            (256, 8, 3, DType::BF16),
            (48, 36, 3, DType::BF16),
            (128, 128, 3, DType::F32),
            (128, 128, 1, DType::BF16),
        ] {
            assert!(!selects(c_out, c_in, size, dtype)?, "{c_out} {c_in} {size} {dtype:?}");
        }
        Ok(())
    }

    #[test]
    fn tiled_weights_hold_every_weight_at_its_index() -> Result<()> {
        let (c_out, c_in, taps) = (70, 40, 18);
        let weight = (0..c_out * c_in * taps).map(|i| (i % 251) as f32).collect();
        let weight = Tensor::from_vec(weight, (c_out, c_in, 2, 3, 3), &Device::Cpu)?.to_dtype(DType::BF16)?;
        let tiled = TiledWeights::new(&weight)?;
        assert_eq!((tiled.rows, tiled.weights.dims()), (128, [1, 2, taps, 4, 128, 8].as_slice()));
        let values = |x: &Tensor| x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
        let (weight, got) = (values(&weight)?, values(&tiled.weights)?);
        for (i, got) in got.into_iter().enumerate() {
            let (row, tap) = (i / 8 % 128, i / (8 * 128 * 4) % taps);
            let channel = i / (8 * 128 * 4 * taps) * 32 + i / (8 * 128) % 4 * 8 + i % 8;
            let exists = row < c_out && channel < c_in;
            assert_eq!(got, if exists { weight[(row * c_in + channel) * taps + tap] } else { 0. }, "{i}");
        }
        Ok(())
    }
}
