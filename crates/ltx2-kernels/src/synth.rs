//! Synthetic tensors: every value is a hash of its index, computed on the target device (`synth.cu`).

use candle_core::{Device, Result, Shape, Tensor};
use half::bf16;
use rayon::prelude::*;

/// splitmix64's increment: 2^64 over the golden ratio.
pub const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Parameters of a synthetic tensor. Value `i` is `center + amplitude · s(i)` in float32, rounded to bfloat16, where
/// `s(i)` is the top 24 bits of `splitmix64(hash + i · GOLDEN)` mapped to [-1, 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Synth {
    /// Hash that identifies the tensor.
    pub hash: u64,
    /// Center of the values.
    pub center: f32,
    /// Largest distance from the center.
    pub amplitude: f32,
}

impl Synth {
    /// Creates the tensor of `shape` in bfloat16 on `device`.
    pub fn tensor(&self, shape: &Shape, device: &Device) -> Result<Tensor> {
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => self.on_cuda(shape, device),
            _ => Tensor::from_vec(self.values(shape.elem_count()), shape, device),
        }
    }

    /// Returns the first `count` values.
    pub fn values(&self, count: usize) -> Vec<bf16> {
        (0..count).into_par_iter().with_min_len(1 << 14).map(|i| self.value(i as u64)).collect()
    }

    fn value(&self, i: u64) -> bf16 {
        let z = splitmix64(self.hash.wrapping_add(i.wrapping_mul(GOLDEN)));
        let unit = (2.0 * ((z >> 40) as f64 / f64::from(1u32 << 24)) - 1.0) as f32;
        bf16::from_f32(self.center + self.amplitude * unit)
    }

    #[cfg(feature = "cuda")]
    fn on_cuda(&self, shape: &Shape, device: &candle_core::CudaDevice) -> Result<Tensor> {
        use crate::cuda::{self, LaunchConfig, PushKernelArg, WrapErr};

        const THREADS: usize = 256;
        const MAX_BLOCKS: usize = 1 << 16;
        let count = shape.elem_count();
        let kernel = cuda::SYNTH.kernel(device, "synth_bf16")?;
        let mut out = cuda::alloc_output::<bf16>(device, count)?;
        let items = count as u64;
        let mut launch = kernel.builder();
        launch.arg(&mut out).arg(&items).arg(&self.hash).arg(&self.center).arg(&self.amplitude);
        let config = LaunchConfig {
            grid_dim: (count.div_ceil(THREADS).min(MAX_BLOCKS) as u32, 1, 1),
            block_dim: (THREADS as u32, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: these are the parameters of `synth_bf16` in order and type. `out` has `count` elements, which the
        // kernel's threads stride over.
        unsafe { launch.launch(config) }.w()?;
        Ok(cuda::tensor(out, device, shape.clone()))
    }
}

/// Finalizer of splitmix64.
pub fn splitmix64(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_device;

    #[test]
    fn values_are_the_same_on_every_device() -> Result<()> {
        assert_eq!(splitmix64(GOLDEN), 0xE220_A839_7B1D_CDAF);
        let synth = Synth { hash: 0x1234_5678_9ABC_DEF0, center: 1.0, amplitude: 0.1 };
        let made = synth.tensor(&Shape::from((3, 333)), &test_device()?)?;
        let values = synth.values(999);
        assert_eq!(made.flatten_all()?.to_vec1::<bf16>()?, values);
        let largest = values.iter().map(|v| (v.to_f32() - 1.0).abs()).fold(0f32, f32::max);
        assert!(largest < 0.104 && largest > 0.09, "{largest}");
        // Empty tensors need no allocation.
        assert_eq!(synth.tensor(&Shape::from((0, 3)), &Device::Cpu)?.dims(), [0, 3]);
        Ok(())
    }
}
