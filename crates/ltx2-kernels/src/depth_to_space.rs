//! Depth to space and time, with the residual connection of an upsampling layer (`depth_to_space.cu`).

use candle_core::{Result, Tensor};

/// Rearranges `x (t, c p1 p2 p3, h, w)` to `(t p1 - skipped, c, h p2, w p3)`, where `stride` is `[p1, p2, p3]` and the
/// first `skipped` frames are dropped. Adds `residual (t, c' p1 p2 p3, h, w)` rearranged in the same way, if given,
/// with its channels repeated `c / c'` times.
pub fn depth_to_space(x: &Tensor, stride: [usize; 3], skipped: usize, residual: Option<&Tensor>) -> Result<Tensor> {
    let shapes = Shapes::new(x, stride, skipped, residual)?;
    #[cfg(feature = "cuda")]
    if let Some(kernel) = on_cuda::DepthToSpace::new(x, residual, &shapes)? {
        return kernel.run();
    }
    let y = shapes.rearrange(x)?;
    match residual {
        Some(residual) => y + shapes.rearrange(residual)?.repeat((1, shapes.repeats, 1, 1))?,
        None => Ok(y),
    }
}

/// Checked dimensions of one call.
struct Shapes {
    stride: [usize; 3],
    skipped: usize,
    /// Dimensions of the result.
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only the CUDA kernel reads it"))]
    out: [usize; 4],
    /// Times that the residual's channels are repeated.
    repeats: usize,
}

impl Shapes {
    fn new(x: &Tensor, stride: [usize; 3], skipped: usize, residual: Option<&Tensor>) -> Result<Self> {
        let ((t, c, h, w), [p1, p2, p3]) = (x.dims4()?, stride);
        let volume = p1 * p2 * p3;
        let repeats = residual.map_or(Ok(1), |residual| {
            let (frames, channels, height, width) = residual.dims4()?;
            let fits = (frames, height, width) == (t, h, w) && channels > 0;
            if !fits || !channels.is_multiple_of(volume) || !c.is_multiple_of(channels) {
                candle_core::bail!("depth_to_space: residual {residual:?} does not match {x:?} with stride {stride:?}")
            }
            Ok(c / channels)
        })?;
        if volume == 0 || !c.is_multiple_of(volume) || skipped > t * p1 {
            candle_core::bail!(
                "depth_to_space: {x:?} does not match stride {stride:?} without its first {skipped} frames"
            )
        }
        Ok(Self { stride, skipped, out: [t * p1 - skipped, c / volume, h * p2, w * p3], repeats })
    }

    fn rearrange(&self, x: &Tensor) -> Result<Tensor> {
        let ((t, c, h, w), [p1, p2, p3]) = (x.dims4()?, self.stride);
        let c = c / (p1 * p2 * p3);
        let split = x.reshape(vec![t, c, p1, p2, p3, h, w])?.permute(vec![0, 2, 1, 5, 3, 6, 4])?;
        split.reshape((t * p1, c, h * p2, w * p3))?.narrow(0, self.skipped, t * p1 - self.skipped)
    }
}

#[cfg(feature = "cuda")]
mod on_cuda {
    use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
    use candle_core::{CudaDevice, DType, Device, Result, Tensor};
    use half::bf16;

    use super::Shapes;
    use crate::cuda::{self, Element, LaunchConfig, PushKernelArg, WrapErr};

    /// `depth_to_space::Shape` of `depth_to_space.cu`: height and width of the input, stride, skipped frames.
    #[repr(C)]
    struct ShapeParameters {
        height: i32,
        width: i32,
        stride: [i32; 3],
        skipped: i32,
    }

    // SAFETY: `repr(C)` with integer fields only, in the order of the C++ struct.
    unsafe impl DeviceRepr for ShapeParameters {}

    /// Launch of `depth_to_space_*` with contiguous operands.
    pub(super) struct DepthToSpace<'a> {
        device: CudaDevice,
        x: Tensor,
        residual: Option<Tensor>,
        shapes: &'a Shapes,
    }

    impl<'a> DepthToSpace<'a> {
        /// Returns `None` if the kernel does not support the operands.
        pub(super) fn new(x: &Tensor, residual: Option<&Tensor>, shapes: &'a Shapes) -> Result<Option<Self>> {
            let Device::Cuda(device) = x.device() else { return Ok(None) };
            let [frames, channels, height, width] = shapes.out;
            let fits = matches!(x.dtype(), DType::BF16 | DType::F32)
                && residual.is_none_or(|residual| residual.dtype() == x.dtype())
                && (1..=65_535).contains(&frames)
                && (1..=65_535).contains(&channels)
                && (1..=i32::MAX as usize).contains(&(height * width));
            if !fits {
                return Ok(None);
            }
            let residual = residual.map(Tensor::contiguous).transpose()?;
            Ok(Some(Self { device: device.clone(), x: x.contiguous()?, residual, shapes }))
        }

        pub(super) fn run(&self) -> Result<Tensor> {
            match self.x.dtype() {
                DType::BF16 => self.launch::<bf16>("depth_to_space_bf16"),
                _ => self.launch::<f32>("depth_to_space_f32"),
            }
        }

        fn launch<T: Element>(&self, name: &str) -> Result<Tensor> {
            const THREADS: usize = 256;
            let [frames, channels, height, width] = self.shapes.out;
            let mut out = cuda::alloc_output::<T>(&self.device, frames * channels * height * width)?;
            {
                let (_, _, h, w) = self.x.dims4()?;
                let shape = ShapeParameters {
                    height: h as i32,
                    width: w as i32,
                    stride: self.shapes.stride.map(|n| n as i32),
                    skipped: self.shapes.skipped as i32,
                };
                let residual_channels = (channels / self.shapes.repeats) as i32;
                let x = self.x.storage_and_layout();
                let x = cuda::view::<T>(&x.0, x.1)?;
                let residual = self.residual.as_ref().map(Tensor::storage_and_layout);
                let residual = cuda::optional_view::<T>(residual.as_ref())?;
                let kernel = cuda::DEPTH_TO_SPACE.kernel(&self.device, name)?;
                let mut launch = kernel.builder();
                launch.arg(&x);
                cuda::optional_arg(&mut launch, residual.as_ref());
                launch.arg(&mut out).arg(&shape).arg(&residual_channels);
                let config = LaunchConfig {
                    grid_dim: ((height * width).div_ceil(THREADS) as u32, channels as u32, frames as u32),
                    block_dim: (THREADS as u32, 1, 1),
                    shared_mem_bytes: 0,
                };
                // SAFETY: these are the parameters of `depth_to_space_*` in order and type. `x`, `residual` and `out`
                // are contiguous and `Shapes` has checked that their dimensions match; every thread writes one element
                // of `out`.
                unsafe { launch.launch(config) }.w()?;
            }
            Ok(cuda::tensor(out, &self.device, self.shapes.out.to_vec().into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_device;
    use candle_core::{DType, Device};

    #[test]
    fn every_element_comes_from_its_source_index() -> Result<()> {
        let device = test_device()?;
        let (t, h, w) = (3, 2, 5);
        for (stride, c, repeats, skipped) in [([2, 2, 2], 4, 2, 1), ([1, 2, 2], 3, 3, 0), ([2, 1, 1], 2, 1, 1)] {
            let [p1, p2, p3]: [usize; 3] = stride;
            let volume = p1 * p2 * p3;
            let make = |channels: usize| Tensor::randn(0f32, 1., (t, channels, h, w), &Device::Cpu);
            let (x, added) = (make(c * volume)?, make(c / repeats * volume)?);
            for (dtype, limit) in [(DType::F32, 0.), (DType::BF16, 0.05)] {
                let to = |x: &Tensor| x.to_dtype(dtype)?.to_device(&device);
                let alone = depth_to_space(&to(&x)?, stride, skipped, None)?;
                let both = depth_to_space(&to(&x)?, stride, skipped, Some(&to(&added)?))?;
                let shape = [t * p1 - skipped, c, h * p2, w * p3];
                assert_eq!((alone.dims(), both.dims()), (&shape[..], &shape[..]));
                let flat = |x: &Tensor| x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
                let (alone, both, x, added) = (flat(&alone)?, flat(&both)?, flat(&x)?, flat(&added)?);
                for i in 0..alone.len() {
                    let [column, row] = [i % shape[3], i / shape[3] % shape[2]];
                    let [channel, frame] =
                        [i / (shape[2] * shape[3]) % c, i / (shape[1] * shape[2] * shape[3]) + skipped];
                    let offset = (frame % p1 * p2 + row % p2) * p3 + column % p3;
                    let at = |channel: usize, channels: usize| {
                        (((frame / p1 * channels + channel) * volume + offset) * h + row / p2) * w + column / p3
                    };
                    let exact = x[at(channel, c)];
                    let sum = exact + added[at(channel % (c / repeats), c / repeats)];
                    assert!((alone[i] - exact).abs() <= limit, "{stride:?} {i}: expected {exact}, found {}", alone[i]);
                    assert!((both[i] - sum).abs() <= limit, "{stride:?} {i}: expected {sum}, found {}", both[i]);
                }
            }
        }
        Ok(())
    }

    #[test]
    fn mismatched_dimensions_are_refused() -> Result<()> {
        let make = |channels: usize| Tensor::zeros((2, channels, 3, 3), DType::F32, &Device::Cpu);
        let x = make(16)?;
        assert!(depth_to_space(&x, [2, 2, 2], 1, Some(&make(8)?)).is_ok());
        assert!(depth_to_space(&x, [1, 3, 3], 0, None).is_err());
        assert!(depth_to_space(&x, [2, 2, 2], 1, Some(&make(4)?)).is_err());
        assert!(depth_to_space(&x, [1, 2, 2], 0, Some(&make(12)?)).is_err());
        assert!(depth_to_space(&x, [2, 2, 2], 0, Some(&x.narrow(0, 0, 1)?)).is_err());
        Ok(())
    }
}
