//! 3-D convolution on a card as a product with columns, with what is added to it.

use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::cublas::sys::cublasOperation_t::CUBLAS_OP_N;
use candle_core::cuda_backend::cudarc::cublas::{CudaBlas, Gemm, GemmConfig, StridedBatchedConfig};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr};
use candle_core::{CudaDevice, DType, Device, Result, Tensor, WithDType, bail};
use half::bf16;

use crate::columns::{self, Part, Window};
use crate::cuda::{self, LaunchConfig, PushKernelArg, WrapErr};
use crate::pad::Padding;

/// An error unless `x`, padded, can be convolved to `shape` and have `bias` and `residual` added.
pub(crate) fn check(
    x: &Tensor,
    padding: &Padding,
    shape: &[usize],
    (bias, residual): (&Tensor, Option<&Tensor>),
) -> Result<()> {
    padding.check(x)?;
    let dtype = |other: &Tensor| other.dtype() == x.dtype();
    if !dtype(bias) {
        bail!("{bias:?} cannot be added to a convolution of {x:?}")
    }
    if residual.is_some_and(|residual| residual.dims() != shape || !dtype(residual)) {
        bail!("a convolution to {shape:?} cannot be added to {residual:?}")
    }
    if shape[1] > 65_535 || shape[2] * shape[3] > i32::MAX as usize {
        bail!("a convolution to {shape:?} is too large")
    }
    Ok(())
}

/// A convolution as a product with columns.
pub(crate) struct Product<'a> {
    pub(crate) window: Window,
    pub(crate) matrix: &'a Tensor,
    pub(crate) bias: &'a Tensor,
    pub(crate) residual: Option<&'a Tensor>,
}

impl Product<'_> {
    /// With at most `bytes` of columns at once: of as many frames as that allows, or lines of one frame.
    pub(crate) fn of(&self, x: &Tensor, bytes: usize) -> Result<Tensor> {
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
        let window: usize = self.window.size.iter().product();
        if x.dim(1)? * window != depth || self.matrix.dtype() != x.dtype() {
            bail!("{x:?} cannot be convolved with {:?}", self.matrix)
        }
        check(x, &self.window.padding, shape, (self.bias, self.residual))
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
