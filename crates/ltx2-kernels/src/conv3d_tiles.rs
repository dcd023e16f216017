//! 3-D convolution on a card without columns (`conv3d_tiles.cu`): its weights, and for which it is meant.

use candle_core::{DType, Result, Tensor};

/// Channels that the kernel reads at once.
const CHANNELS: usize = 32;
/// Channels of the result that a block may have.
const ROWS: [usize; 2] = [128, 64];

/// Operations on bfloat16 that a card does while its memory moves a byte. By their makers' numbers that is 153 on an A100, 295 on
/// an H100 and 419 on an L40S.
const OPERATIONS_PER_BYTE: usize = 256;
/// The kernel takes up to so many times as long as cuBLAS for the same operations: from sm_90 on that has faster instructions.
const TIMES_SLOWER: usize = 2;

/// Weights of a convolution over windows of 3x3, of any number of frames, in the order in which the kernel reads them.
#[derive(Debug, Clone)]
pub struct TiledWeights {
    /// `(c_out / rows, c_in / 32, taps, 4, rows, 8)`: both numbers of channels rounded up, with zeros where there is none.
    pub weights: Tensor,
    /// Channels of the result that a block has: 64 or 128.
    pub rows: usize,
    /// Of the convolution: channels out, channels in, frames of the window.
    pub dims: [usize; 3],
}

impl TiledWeights {
    /// Of `weight (c_out, c_in, kt, 3, 3)`, bfloat16, `c_in` a multiple of 8. An error if they are anything else.
    pub fn new(weight: &Tensor) -> Result<Self> {
        let (c_out, c_in, frames, _, _) = weight.dims5()?;
        if !takes(weight) {
            candle_core::bail!("a convolution by {weight:?} has no kernel of its own")
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

    /// Whether the kernel takes `weight (c_out, c_in, kt, kh, kw)`, and no longer than columns and their product take.
    ///
    /// Columns are written and read: of each of a place's `window * c_in` values 4 bytes, which cost as much as
    /// `4 * OPERATIONS_PER_BYTE` operations beside the product's `2 * c_out`. The kernel does `2 * c_out` alone, but slower, and
    /// with both numbers of channels rounded up. Where nothing is rounded that is at most 512 channels out.
    pub fn pays(weight: &Tensor) -> bool {
        let &[c_out, c_in, ..] = weight.dims() else { return false };
        let (padded_out, padded_in) = (c_out.next_multiple_of(rows_for(c_out)), c_in.next_multiple_of(CHANNELS));
        takes(weight) && TIMES_SLOWER * 2 * padded_out * padded_in <= c_in * (4 * OPERATIONS_PER_BYTE + 2 * c_out)
    }
}

/// Whether the kernel can read `weight`, and eight channels of what it convolves at once.
fn takes(weight: &Tensor) -> bool {
    let is_window = matches!(weight.dims(), &[_, c_in, _, 3, 3] if c_in.is_multiple_of(8));
    is_window && weight.dtype() == DType::BF16
}

/// What leaves fewer rows without a channel; the most if it is the same.
fn rows_for(c_out: usize) -> usize {
    ROWS.into_iter().min_by_key(|rows| c_out.next_multiple_of(*rows)).expect("there are some")
}

/// A tile's columns, as a power of two: 8, 16 or 32 of its 256 places, so that as few tiles as can be cover a frame. Of
/// those with as few the widest, whose lines are read and written in the longest pieces.
#[cfg(any(feature = "cuda", test))]
fn columns_for([height, width]: [usize; 2]) -> u32 {
    let tiles = |across: u32| width.div_ceil(1 << across) * height.div_ceil(256 >> across);
    [5, 4, 3].into_iter().min_by_key(|across| tiles(*across)).expect("there are some")
}

#[cfg(feature = "cuda")]
pub(crate) mod on_cuda {
    use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr};
    use candle_core::{CudaDevice, DType, Device, Result, Tensor, bail};
    use half::bf16;

    use super::{TiledWeights, columns_for};
    use crate::columns::Window;
    use crate::columns::on_cuda::{Slid, Video};
    use crate::conv3d_columns;
    use crate::cuda::{self, LaunchConfig, PushKernelArg, WrapErr};
    use crate::pad::Padding;

    const THREADS: u32 = 256;
    const PLACES: usize = 256;

    /// Channels, height, width, a tile's columns as a power of two, and how many values are read and written at once.
    #[repr(C)]
    struct Shape([i32; 5]);

    // Plain numbers, laid out as the kernel's own.
    unsafe impl DeviceRepr for Shape {}

    /// Twice what a block sees of 32 channels, and twice three taps' weights: `shared_bytes` of the kernel's file.
    fn shared_bytes(rows: usize) -> u32 {
        (2 * (10 * 34 * 32 * 2) + 2 * (3 * rows * 32 * 2)) as u32
    }

    /// A convolution, and what is added to it.
    pub(crate) struct Convolution<'a> {
        pub(crate) weights: &'a TiledWeights,
        pub(crate) padding: Padding,
        /// Of as many elements as there are channels.
        pub(crate) bias: &'a Tensor,
        /// Of the result's shape.
        pub(crate) residual: Option<&'a Tensor>,
    }

    impl Convolution<'_> {
        /// Of `x (t, c_in, h, w)`, padded.
        pub(crate) fn of(&self, x: &Tensor) -> Result<Tensor> {
            let Device::Cuda(device) = x.device() else { bail!("not on a card") };
            let [c_out, c_in, frames] = self.weights.dims;
            let window = Window { size: [frames, 3, 3], padding: self.padding };
            let [time, height, width] = window.places(x)?;
            let dims = [time, c_out, height, width];
            if x.dim(1)? != c_in || x.dtype() != DType::BF16 || time > 65_535 {
                bail!("{x:?} cannot be convolved to {dims:?} with {:?}", self.weights.weights)
            }
            conv3d_columns::check(x, &self.padding, &dims, (self.bias, self.residual))?;
            if dims.contains(&0) {
                return Tensor::zeros(&dims, x.dtype(), x.device());
            }
            let (x, residual) = (x.contiguous()?, self.residual.map(Tensor::contiguous).transpose()?);
            // Every element is written below.
            let mut out = unsafe { device.alloc::<bf16>(dims.iter().product())? };
            self.launch(&x, (&window, dims), residual.as_ref(), (device, &mut out))?;
            Ok(cuda::tensor(out, device, dims.to_vec().into()))
        }

        /// Writes the whole result, of shape `dims`.
        fn launch(
            &self,
            x: &Tensor,
            (window, dims): (&Window, [usize; 4]),
            residual: Option<&Tensor>,
            (device, out): (&CudaDevice, &mut CudaSlice<bf16>),
        ) -> Result<()> {
            let ([time, c_out, height, width], rows) = (dims, self.weights.rows);
            let across = columns_for([height, width]);
            let tiles = width.div_ceil(1 << across) * height.div_ceil(PLACES >> across);
            let begins = residual.map_or(0, |residual| residual.layout().start_offset());
            let at_once = if width.is_multiple_of(8) && begins.is_multiple_of(8) { 8 } else { 1 };
            let shape = Shape([c_out, height, width, across as usize, at_once].map(|n| n as i32));
            let (video, slid) = (Video::of(x.dims4()?.into()), Slid::of(window));
            let [x, weights, bias] = [x, &self.weights.weights, self.bias].map(Tensor::storage_and_layout);
            let (x, weights) = (cuda::view::<bf16>(&x.0, x.1)?, cuda::view::<bf16>(&weights.0, weights.1)?);
            let bias = cuda::view::<bf16>(&bias.0, bias.1)?;
            let residual = residual.map(Tensor::storage_and_layout);
            let residual = cuda::view_if_any::<bf16>(residual.as_ref())?;
            let kernel = cuda::CONV3D_TILES.kernel(device, &format!("conv3d_tiles_{rows}"))?;
            kernel.allow_shared(shared_bytes(rows))?;
            let mut launch = kernel.builder();
            launch.arg(&x).arg(&weights).arg(&bias);
            cuda::arg_if_any(&mut launch, residual.as_ref());
            launch.arg(out).arg(&video).arg(&slid).arg(&shape);
            let config = LaunchConfig {
                grid_dim: (tiles as u32, c_out.div_ceil(rows) as u32, time as u32),
                block_dim: (THREADS, 1, 1),
                shared_mem_bytes: shared_bytes(rows),
            };
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
    fn a_tile_fits_the_frame() {
        let sizes =
            [([128, 192], 5), ([32, 48], 4), ([8, 12], 5), ([64, 8], 3), ([120, 176], 4), ([9, 40], 4), ([1, 1], 5)];
        for (size, across) in sizes {
            assert_eq!(columns_for(size), across, "{size:?}");
        }
    }

    #[test]
    fn columns_are_left_where_they_cost_more() -> Result<()> {
        let pays = |c_out: usize, c_in: usize, size: usize, dtype: DType| -> Result<bool> {
            Ok(TiledWeights::pays(&Tensor::zeros((c_out, c_in, 3, size, size), dtype, &Device::Cpu)?))
        };
        for (c_out, c_in) in [(128, 128), (48, 128), (512, 512), (512, 256), (128, 48), (129, 1024)] {
            assert!(pays(c_out, c_in, 3, DType::BF16)?, "{c_out} {c_in}");
        }
        // Too many channels out, too few in, no eights of them, another type, another window.
        for (c_out, c_in, size, dtype) in [
            (640, 128, 3, DType::BF16),
            (1024, 1024, 3, DType::BF16),
            (256, 8, 3, DType::BF16),
            (48, 36, 3, DType::BF16),
            (128, 128, 3, DType::F32),
            (128, 128, 1, DType::BF16),
        ] {
            assert!(!pays(c_out, c_in, size, dtype)?, "{c_out} {c_in} {size} {dtype:?}");
        }
        Ok(())
    }

    #[test]
    fn every_weight_has_its_place() -> Result<()> {
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
