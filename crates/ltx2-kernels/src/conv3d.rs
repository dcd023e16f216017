//! 3-D convolution over frames, without the full column matrix.

use candle_core::{Result, Tensor};

#[cfg(feature = "cuda")]
use crate::columns::Window;
use crate::conv::conv2d;
use crate::pad::{Around, Padding};

/// Most bytes of columns at once, where one line of one frame takes no more.
#[cfg(feature = "cuda")]
const COLUMN_BYTES: usize = 256 << 20;

/// A 3-D convolution with stride 1 over frames-first video.
#[derive(Debug, Clone)]
pub struct Conv3d {
    weights: Weights,
    /// `(1, c_out, 1, 1)`.
    bias: Tensor,
}

#[derive(Debug, Clone)]
enum Weights {
    /// The plain form, one 2-D kernel per tap in time: frame `i` of the result is the sum over taps `k` of the 2-D convolution
    /// of frame `i + k`. With frames outermost every tap reads a contiguous slice, so nothing is copied in time.
    Taps(Vec<Tensor>),
    /// On a card, `(c_out, c_in * window)`: times the columns of some frames, or lines of one, it is those of the result, and
    /// all is summed in float32.
    #[cfg(feature = "cuda")]
    Matrix { matrix: Tensor, size: [usize; 3] },
}

impl Conv3d {
    /// `weight (c_out, c_in, kt, kh, kw)`, `bias (c_out)`.
    pub fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        Ok(Self { weights: Weights::new(weight)?, bias: bias.reshape((1, weight.dim(0)?, 1, 1))? })
    }

    /// `x (t, c_in, h, w)`, padded, to `(t', c_out, h', w')`: as many as the kernel has places.
    pub fn forward(&self, x: &Tensor, padding: &Padding) -> Result<Tensor> {
        self.sum(x, padding, None)
    }

    /// The same plus `residual`, of the result's shape.
    pub fn forward_onto(&self, residual: &Tensor, x: &Tensor, padding: &Padding) -> Result<Tensor> {
        self.sum(x, padding, Some(residual))
    }

    fn sum(&self, x: &Tensor, padding: &Padding, residual: Option<&Tensor>) -> Result<Tensor> {
        match &self.weights {
            Weights::Taps(taps) => {
                let sum = by_taps(taps, x, padding)?.broadcast_add(&self.bias)?;
                residual.map_or(Ok(sum.clone()), |residual| residual + sum)
            }
            #[cfg(feature = "cuda")]
            Weights::Matrix { matrix, size } => {
                let window = Window { size: *size, padding: *padding };
                on_cuda::Product { window, matrix, bias: &self.bias, residual }.of(x, COLUMN_BYTES)
            }
        }
    }
}

impl Weights {
    fn new(weight: &Tensor) -> Result<Self> {
        #[cfg(feature = "cuda")]
        if weight.device().is_cuda() {
            let (c_out, c_in, time, height, width) = weight.dims5()?;
            let matrix = weight.contiguous()?.reshape((c_out, c_in * time * height * width))?;
            return Ok(Self::Matrix { matrix, size: [time, height, width] });
        }
        taps(weight).map(Self::Taps)
    }
}

fn taps(weight: &Tensor) -> Result<Vec<Tensor>> {
    let (_, _, time, _, _) = weight.dims5()?;
    (0..time).map(|k| weight.narrow(2, k, 1)?.squeeze(2)?.contiguous()).collect()
}

fn by_taps(taps: &[Tensor], x: &Tensor, padding: &Padding) -> Result<Tensor> {
    let zeros = match padding.around {
        Around::Zeros(count) => count,
        Around::Reflect => 0,
    };
    let x = padding.repeat(x)?;
    let frames = x.dim(0)? + 1 - taps.len();
    let mut sum: Option<Tensor> = None;
    for (k, tap) in taps.iter().enumerate() {
        let part = conv2d(&x.narrow(0, k, frames)?, tap, zeros)?;
        sum = Some(match sum {
            Some(sum) => (sum + part)?,
            None => part,
        });
    }
    Ok(sum.expect("a kernel has at least one tap"))
}

#[cfg(feature = "cuda")]
mod on_cuda {
    use candle_core::cuda_backend::CudaDType;
    use candle_core::cuda_backend::cudarc::cublas::sys::cublasOperation_t::CUBLAS_OP_N;
    use candle_core::cuda_backend::cudarc::cublas::{CudaBlas, Gemm, GemmConfig, StridedBatchedConfig};
    use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr};
    use candle_core::{CudaDevice, DType, Device, Result, Tensor, WithDType, bail};
    use half::bf16;

    use crate::columns::{self, Part, Window};
    use crate::cuda::{self, LaunchConfig, PushKernelArg, WrapErr};

    /// A convolution as a product with columns.
    pub(super) struct Product<'a> {
        pub(super) window: Window,
        pub(super) matrix: &'a Tensor,
        pub(super) bias: &'a Tensor,
        pub(super) residual: Option<&'a Tensor>,
    }

    impl Product<'_> {
        /// With at most `bytes` of columns at once: of as many frames as that allows, or lines of one frame.
        pub(super) fn of(&self, x: &Tensor, bytes: usize) -> Result<Tensor> {
            let x = x.contiguous()?;
            let residual = self.residual.map(Tensor::contiguous).transpose()?;
            let of = Product { window: self.window, matrix: self.matrix, bias: self.bias, residual: residual.as_ref() };
            match x.dtype() {
                DType::BF16 => of.run::<bf16>(&x, bytes),
                DType::F32 => of.run::<f32>(&x, bytes),
                other => bail!("a 3-D convolution on a card takes bfloat16 or float32, not {other:?}"),
            }
        }

        fn run<T: CudaDType + DeviceRepr + WithDType>(&self, x: &Tensor, bytes: usize) -> Result<Tensor>
        where
            CudaBlas: Gemm<T>,
        {
            let Device::Cuda(device) = x.device() else { bail!("not on a card") };
            let (c_out, depth) = self.matrix.dims2()?;
            let places = self.window.places(x)?;
            let shape = [places[0], c_out, places[1], places[2]];
            self.check(x, &shape, depth)?;
            let parts = Part::all(places, bytes / (depth * size_of::<T>()).max(1));
            let count = |part: &Part| part.frames.len() * part.lines.len() * places[2];
            let Some(most) = parts.iter().map(count).max() else { return Tensor::zeros(&shape, x.dtype(), x.device()) };
            // Both are written before they are read, and the result wholly.
            let mut out = unsafe { device.alloc::<T>(shape.iter().product())? };
            let mut columns = unsafe { device.alloc::<T>(most * depth)? };
            let storage = x.storage_and_layout();
            let from = (&cuda::view::<T>(&storage.0, storage.1)?, x.dims4()?.into());
            for part in &parts {
                columns::on_cuda::write(&self.window, from, (part, places[2]), (device, &mut columns))?;
                self.multiply(&columns, part, places, (device, &mut out))?;
                self.add(part, places, (device, &mut out))?;
            }
            drop(storage);
            Ok(cuda::tensor(out, device, shape.to_vec().into()))
        }

        fn check(&self, x: &Tensor, shape: &[usize], depth: usize) -> Result<()> {
            self.window.padding.check(x)?;
            let window: usize = self.window.size.iter().product();
            let dtype = |other: &Tensor| other.dtype() == x.dtype();
            if x.dim(1)? * window != depth || !dtype(self.matrix) || !dtype(self.bias) {
                bail!("{x:?} cannot be convolved with {:?}", self.matrix)
            }
            if self.residual.is_some_and(|residual| residual.dims() != shape || !dtype(residual)) {
                bail!("a convolution to {shape:?} cannot be added to {:?}", self.residual)
            }
            if shape[1] > 65_535 || shape[2] * shape[3] > i32::MAX as usize {
                bail!("a convolution to {shape:?} is too large")
            }
            Ok(())
        }

        /// Writes the matrix times the columns of `part` to its place in the result.
        fn multiply<T: CudaDType + DeviceRepr + WithDType>(
            &self,
            columns: &CudaSlice<T>,
            part: &Part,
            [_, height, width]: [usize; 3],
            (device, out): (&CudaDevice, &mut CudaSlice<T>),
        ) -> Result<()>
        where
            CudaBlas: Gemm<T>,
        {
            let (c_out, depth) = self.matrix.dims2()?;
            let (length, plane) = (part.lines.len() * width, height * width);
            // For cuBLAS, whose matrices are columns first, each of ours is its transpose, and the factors change places.
            let gemm = GemmConfig {
                transa: CUBLAS_OP_N,
                transb: CUBLAS_OP_N,
                m: length as i32,
                n: c_out as i32,
                k: depth as i32,
                alpha: T::from_f64(1.),
                lda: length as i32,
                ldb: depth as i32,
                beta: T::from_f64(0.),
                ldc: plane as i32,
            };
            let config = StridedBatchedConfig {
                gemm,
                batch_size: part.frames.len() as i32,
                stride_a: (depth * length) as i64,
                stride_b: 0,
                stride_c: (c_out * plane) as i64,
            };
            let matrix = self.matrix.storage_and_layout();
            let matrix = cuda::view::<T>(&matrix.0, matrix.1)?;
            let mut out = out.slice_mut(part.frames.start * c_out * plane + part.lines.start * width..);
            unsafe { device.cublas_handle().gemm_strided_batched(config, columns, &matrix, &mut out) }.w()
        }

        /// Adds the bias, and the residual, to `part` of the result while it is in a cache.
        fn add<T: CudaDType + DeviceRepr>(
            &self,
            part: &Part,
            [_, height, width]: [usize; 3],
            (device, out): (&CudaDevice, &mut CudaSlice<T>),
        ) -> Result<()> {
            const THREADS: usize = 256;
            let c_out = self.matrix.dim(0)?;
            let first = part.frames.start * c_out * height * width + part.lines.start * width;
            let begins = self.residual.map_or(0, |residual| residual.layout().start_offset());
            let whole = |elements: usize| width.is_multiple_of(elements) && begins.is_multiple_of(elements);
            let (name, at_once) = match size_of::<T>() {
                2 if whole(8) => ("add_bias_bf16x8", 8),
                2 => ("add_bias_bf16x1", 1),
                _ if whole(4) => ("add_bias_f32x4", 4),
                _ => ("add_bias_f32x1", 1),
            };
            let (packs, step) = (part.lines.len() * width / at_once, height * width / at_once);
            let (count, apart, none) = (packs as u32, step as u32, 0u64);
            let bias = self.bias.storage_and_layout();
            let bias = cuda::view::<T>(&bias.0, bias.1)?;
            let residual = self.residual.map(Tensor::storage_and_layout);
            let residual = residual.as_ref().map(|(storage, layout)| cuda::view::<T>(storage, layout)).transpose()?;
            let residual = residual.as_ref().map(|residual| residual.slice(first..));
            let mut out = out.slice_mut(first..);
            let kernel = cuda::CONV3D.kernel(device, name)?;
            let mut launch = kernel.builder();
            launch.arg(&mut out).arg(&bias);
            match &residual {
                Some(residual) => launch.arg(residual),
                None => launch.arg(&none),
            };
            launch.arg(&count).arg(&apart);
            let config = LaunchConfig {
                grid_dim: (packs.div_ceil(THREADS) as u32, c_out as u32, part.frames.len() as u32),
                block_dim: (THREADS as u32, 1, 1),
                shared_mem_bytes: 0,
            };
            unsafe { launch.launch(config) }.w()?;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_device;
    use candle_core::Device;

    /// Of frames in time, and around each, all that there is.
    const PADDINGS: [Padding; 4] = [
        Padding::zeros(1),
        Padding { before: 2, after: 0, around: Around::Zeros(0) },
        Padding { before: 1, after: 1, around: Around::Reflect },
        Padding { before: 0, after: 1, around: Around::Zeros(2) },
    ];

    fn largest(x: &Tensor) -> Result<f32> {
        x.abs()?.max_all()?.to_scalar()
    }

    #[test]
    fn equals_the_sum_by_hand() -> Result<()> {
        let device = test_device()?;
        let (t, c, h, w, o) = (4, 2, 3, 5, 3);
        let x = Tensor::randn(0f32, 1., (t, c, h, w), &device)?;
        let weight = Tensor::randn(0f32, 1., (o, c, 3, 3, 3), &device)?;
        let bias = Tensor::randn(0f32, 1., o, &device)?;
        let y = Conv3d::new(&weight, &bias)?.forward(&x, &Padding::zeros(1))?;
        assert_eq!(y.dims(), [t - 2, o, h, w]);
        let (x, weight, bias) =
            (x.flatten_all()?.to_vec1::<f32>()?, weight.flatten_all()?.to_vec1::<f32>()?, bias.to_vec1::<f32>()?);
        let at = |t: usize, c_in: usize, y: isize, z: isize| {
            let inside = (0..h as isize).contains(&y) && (0..w as isize).contains(&z);
            if inside { x[((t * c + c_in) * h + y as usize) * w + z as usize] } else { 0. }
        };
        let got = y.flatten_all()?.to_vec1::<f32>()?;
        for (i, got) in got.iter().enumerate() {
            let (time, out, row, col) = (i / (o * h * w), i / (h * w) % o, i / w % h, i % w);
            let mut sum = bias[out];
            for c_in in 0..c {
                for k in 0..27 {
                    let (kt, kh, kw) = (k / 9, k / 3 % 3, k % 3);
                    sum += weight[(out * c + c_in) * 27 + k]
                        * at(time + kt, c_in, row as isize + kh as isize - 1, col as isize + kw as isize - 1);
                }
            }
            assert!((sum - got).abs() < 1e-4, "{i}: {got}, not {sum}");
        }
        Ok(())
    }

    #[test]
    fn columns_times_weights_are_the_sum_of_taps() -> Result<()> {
        for (size, width) in [([3, 3, 3], 5), ([1, 2, 3], 16), ([2, 1, 1], 3)] {
            for padding in PADDINGS {
                let make = |shape: &[usize]| Tensor::randn(0f32, 1., shape, &Device::Cpu);
                let (x, weight) = (make(&[6, 2, 7, width])?, make(&[4, 2, size[0], size[1], size[2]])?);
                let window = crate::columns::Window { size, padding };
                let [frames, height, width] = window.places(&x)?;
                let columns = window.columns(&x, &crate::columns::Part { frames: 0..frames, lines: 0..height })?;
                let product =
                    weight.reshape((4, ()))?.broadcast_matmul(&columns)?.reshape((frames, 4, height, width))?;
                assert!(largest(&(product - by_taps(&taps(&weight)?, &x, &padding)?)?)? < 1e-4, "{size:?} {padding:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_residual_is_added() -> Result<()> {
        let device = test_device()?;
        let make = |shape: &[usize]| Tensor::randn(0f32, 1., shape, &device);
        let (x, residual) = (make(&[3, 2, 4, 6])?, make(&[3, 5, 4, 6])?);
        let conv = Conv3d::new(&make(&[5, 2, 3, 3, 3])?, &make(&[5])?)?;
        let padding = PADDINGS[2];
        let sum = (conv.forward(&x, &padding)? + &residual)?;
        assert_eq!(largest(&(conv.forward_onto(&residual, &x, &padding)? - sum)?)?, 0.);
        assert!(conv.forward_onto(&x, &x, &padding).is_err());
        assert!(conv.forward(&x.narrow(2, 0, 1)?, &padding).is_err());
        Ok(())
    }

    #[cfg(feature = "cuda")]
    #[test]
    fn a_card_s_products_equal_taps() -> Result<()> {
        use candle_core::DType;

        let device = test_device()?;
        for (size, width) in [([3, 3, 3], 8), ([3, 3, 3], 10), ([1, 2, 3], 16), ([2, 1, 1], 3)] {
            for padding in PADDINGS {
                let make = |shape: &[usize]| Tensor::randn(0f32, 1., shape, &Device::Cpu);
                let (x, weight, bias) =
                    (make(&[6, 2, 7, width])?, make(&[4, 2, size[0], size[1], size[2]])?, make(&[4])?);
                let plain = Conv3d { weights: Weights::Taps(taps(&weight)?), bias: bias.reshape((1, 4, 1, 1))? };
                let exact = plain.forward(&x, &padding)?;
                let residual = make(exact.dims())?;
                for (dtype, limit) in [(DType::F32, 1e-4), (DType::BF16, 0.3)] {
                    let to = |x: &Tensor| x.to_dtype(dtype)?.to_device(&device);
                    let matrix = to(&weight.reshape((4, ()))?)?;
                    let window = Window { size, padding };
                    let (bias, added) = (to(&bias)?, to(&residual)?);
                    // From one line at a time to all at once.
                    for bytes in [1, 4000, 9000, 1 << 20] {
                        for residual in [None, Some(&added)] {
                            let product = on_cuda::Product { window, matrix: &matrix, bias: &bias, residual };
                            let got = product.of(&to(&x)?, bytes)?;
                            assert_eq!(got.dims(), exact.dims());
                            let got = match residual {
                                Some(residual) => (got - residual)?,
                                None => got,
                            };
                            let apart = largest(&(got.to_dtype(DType::F32)?.to_device(&Device::Cpu)? - &exact)?)?;
                            assert!(apart < limit, "{size:?} {padding:?} {dtype:?} {bytes}: {apart}");
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
