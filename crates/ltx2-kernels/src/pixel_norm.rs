//! Pixel norm of the autoencoders fused with SiLU (`pixel_norm.cu`).

use candle_core::{DType, Result, Tensor};

use crate::rounding::silu;

/// SiLU of the root-mean-square norm over the channels of each pixel of `x (n, c, h, w)`.
pub fn pixel_norm_silu(x: &Tensor, eps: f64) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(kernel) = on_cuda::PixelNorm::new(&x.contiguous()?, eps)? {
        return kernel.run();
    }
    reference(x, eps)
}

/// The same in plain candle, with the norm in float32.
fn reference(x: &Tensor, eps: f64) -> Result<Tensor> {
    let dtype = x.dtype();
    let x = x.to_dtype(DType::F32)?;
    let rms = ((x.sqr()?.mean_keepdim(1)? + eps)?).sqrt()?;
    let normed = x.broadcast_div(&rms)?.to_dtype(dtype)?;
    silu(&normed)
}

#[cfg(feature = "cuda")]
mod on_cuda {
    use candle_core::{CudaDevice, DType, Device, Result, Tensor};
    use half::bf16;

    use crate::cuda::{self, Element, LaunchConfig, PushKernelArg, WrapErr};

    /// Launch of `pixel_norm_silu_*`.
    pub(super) struct PixelNorm {
        x: Tensor,
        device: CudaDevice,
        pixels: usize,
        eps: f32,
    }

    impl PixelNorm {
        /// Returns `None` if the kernel does not support `x`, which must be contiguous.
        pub(super) fn new(x: &Tensor, eps: f64) -> Result<Option<Self>> {
            let Device::Cuda(device) = x.device() else { return Ok(None) };
            let (frames, _, height, width) = x.dims4()?;
            let pixels = height * width;
            let fits = matches!(x.dtype(), DType::BF16 | DType::F32)
                && x.elem_count() > 0
                && x.is_contiguous()
                && frames <= 65_535
                && i32::try_from(pixels).is_ok();
            let kernel = || Self { x: x.clone(), device: device.clone(), pixels, eps: eps as f32 };
            Ok(fits.then(kernel))
        }

        pub(super) fn run(&self) -> Result<Tensor> {
            // Vectors are aligned to their size.
            let aligned = |elements: usize| {
                self.pixels.is_multiple_of(elements) && self.x.layout().start_offset().is_multiple_of(elements)
            };
            match self.x.dtype() {
                DType::BF16 if aligned(8) => self.launch::<bf16>("pixel_norm_silu_bf16x8", 8),
                DType::BF16 => self.launch::<bf16>("pixel_norm_silu_bf16x1", 1),
                _ if aligned(4) => self.launch::<f32>("pixel_norm_silu_f32x4", 4),
                _ => self.launch::<f32>("pixel_norm_silu_f32x1", 1),
            }
        }

        fn launch<T: Element>(&self, name: &str, vector: usize) -> Result<Tensor> {
            /// `pixel_norm::LANES` of `pixel_norm.cu`.
            const LANES: usize = 8;
            const THREADS: u32 = 256;
            let (frames, channels, vectors) = (self.x.dim(0)?, self.x.dim(1)? as i32, self.pixels / vector);
            let mut out = cuda::alloc_output::<T>(&self.device, self.x.elem_count())?;
            {
                let x = self.x.storage_and_layout();
                let x = cuda::view::<T>(&x.0, x.1)?;
                let kernel = cuda::PIXEL_NORM.kernel(&self.device, name)?;
                let mut launch = kernel.builder();
                let count = vectors as i32;
                launch.arg(&x).arg(&mut out).arg(&channels).arg(&count).arg(&self.eps);
                let config = LaunchConfig {
                    grid_dim: (vectors.div_ceil(LANES) as u32, frames as u32, 1),
                    block_dim: (THREADS, 1, 1),
                    shared_mem_bytes: 0,
                };
                // SAFETY: these are the parameters of `pixel_norm_silu_*` in order and type. `x` and `out` are
                // contiguous `(frames, channels, pixels)`, and `vector` divides the pixels and the offset of `x`.
                unsafe { launch.launch(config) }.w()?;
            }
            Ok(cuda::tensor(out, &self.device, self.x.shape().clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_device;
    use candle_core::Device;

    #[test]
    fn pixel_norm_silu_equals_the_formula() -> Result<()> {
        let (n, eps) = (2, 1e-8);
        let device = test_device()?;
        for (c, h, w) in [(6, 4, 5), (1, 3, 3), (40, 8, 9), (33, 2, 4)] {
            let x = Tensor::randn(0.5f32, 2., (n, c, h, w), &Device::Cpu)?;
            for (dtype, limit) in [(DType::F32, 1e-5), (DType::BF16, 0.03)] {
                let got = pixel_norm_silu(&x.to_dtype(dtype)?.to_device(&device)?, eps)?;
                assert_eq!((got.dims(), got.dtype()), (x.dims(), dtype));
                let got = got.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
                let x = x.flatten_all()?.to_vec1::<f32>()?;
                for (i, got) in got.iter().enumerate() {
                    let (frame, pixel) = (i / (c * h * w), i % (h * w));
                    let square = (0..c).map(|k| x[(frame * c + k) * h * w + pixel].powi(2)).sum::<f32>() / c as f32;
                    let normed = x[i] / (square + eps as f32).sqrt();
                    let exact = normed / (1. + (-normed).exp());
                    assert!((got - exact).abs() < limit * exact.abs().max(1.), "{i}: expected {exact}, found {got}");
                }
            }
        }
        Ok(())
    }
}
