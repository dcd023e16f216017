//! Decoding of 8-bit floats in e4m3 (sign, 4 bits of exponent, 3 of mantissa, no infinities; `float8.cu`). candle's
//! cast has no scale, and on CUDA it looks for a kernel whose name does not exist.

use candle_core::{DType, Device, Result, Tensor, bail};
use rayon::prelude::*;

/// Minimum number of codes per CPU task.
const MIN_TASK_LEN: usize = 1 << 16;

/// Decodes `codes` (U8, any shape), multiplies by `scale` in float32 and rounds once to `dtype`, float32 or bfloat16.
pub fn decode_e4m3(codes: &Tensor, scale: f32, dtype: DType) -> Result<Tensor> {
    if codes.dtype() != DType::U8 {
        bail!("decode_e4m3: expected codes in U8, found {:?}", codes.dtype())
    }
    if !matches!(dtype, DType::F32 | DType::BF16) {
        bail!("decode_e4m3: expected float32 or bfloat16 as the target dtype, found {dtype:?}")
    }
    let codes = codes.contiguous()?;
    match codes.device() {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) if codes.elem_count() > 0 => on_cuda::decode(&codes, scale, dtype, device),
        device => {
            let values = Tensor::from_vec(decode_by_table(&codes, scale)?, codes.shape(), &Device::Cpu)?;
            values.to_dtype(dtype)?.to_device(device)
        }
    }
}

/// CPU reference: a table of the 256 codes.
fn decode_by_table(codes: &Tensor, scale: f32) -> Result<Vec<f32>> {
    let table: Vec<f32> = (0..=255).map(|code| e4m3(code) * scale).collect();
    let codes = codes.flatten_all()?.to_vec1::<u8>()?;
    Ok(codes.into_par_iter().with_min_len(MIN_TASK_LEN).map(|code| table[usize::from(code)]).collect())
}

/// Value of a code.
fn e4m3(code: u8) -> f32 {
    let (exponent, fraction) = (i32::from(code >> 3 & 15), f32::from(code & 7) / 8.0);
    let size = match (exponent, code & 7) {
        (15, 7) => f32::NAN,
        (0, _) => fraction * 2f32.powi(-6),
        _ => (1.0 + fraction) * 2f32.powi(exponent - 7),
    };
    if code & 0x80 == 0 { size } else { -size }
}

#[cfg(feature = "cuda")]
mod on_cuda {
    use candle_core::{CudaDevice, DType, Result, Tensor};
    use half::bf16;

    use crate::cuda::{self, Element, LaunchConfig, PushKernelArg, WrapErr};

    /// Codes that a thread decodes at a time.
    const VECTOR: usize = 8;
    const THREADS: usize = 256;
    const MAX_BLOCKS: usize = 1 << 16;

    pub(super) fn decode(codes: &Tensor, scale: f32, dtype: DType, device: &CudaDevice) -> Result<Tensor> {
        match dtype {
            DType::BF16 => launch::<bf16>(codes, scale, "decode_e4m3_bf16", device),
            _ => launch::<f32>(codes, scale, "decode_e4m3_f32", device),
        }
    }

    fn launch<T: Element>(codes: &Tensor, scale: f32, name: &str, device: &CudaDevice) -> Result<Tensor> {
        // Vectors are aligned to their size.
        let codes = if codes.layout().start_offset().is_multiple_of(VECTOR) {
            codes.clone()
        } else {
            codes.force_contiguous()?
        };
        let count = codes.elem_count();
        let kernel = cuda::FLOAT8.kernel(device, name)?;
        let mut out = cuda::alloc_output::<T>(device, count)?;
        let (storage, layout) = codes.storage_and_layout();
        let bytes = cuda::view::<u8>(&storage, layout)?;
        let items = count as u64;
        let mut launch = kernel.builder();
        launch.arg(&bytes).arg(&mut out).arg(&items).arg(&scale);
        let blocks = count.div_ceil(VECTOR * THREADS).min(MAX_BLOCKS);
        let config =
            LaunchConfig { grid_dim: (blocks as u32, 1, 1), block_dim: (THREADS as u32, 1, 1), shared_mem_bytes: 0 };
        // SAFETY: these are the parameters of `decode_e4m3_*` in order and type. `bytes` and `out` have `count`
        // elements, which the kernel's threads stride over, and start at a multiple of a vector.
        unsafe { launch.launch(config) }.w()?;
        Ok(cuda::tensor(out, device, codes.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;
    use crate::test_device;

    #[test]
    fn decode_e4m3_equals_the_format_definition() -> Result<()> {
        let codes: Vec<u8> = (0..=255).chain(0..5).collect();
        for scale in [1.0, 0.37] {
            for device in [Device::Cpu, test_device()?] {
                let tensor = Tensor::new(codes.as_slice(), &device)?;
                let expected: Vec<f32> = codes.iter().map(|code| e4m3(*code) * scale).collect();
                let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
                let values = decode_e4m3(&tensor, scale, DType::F32)?.to_vec1::<f32>()?;
                assert!(values.iter().zip(&expected).all(|(a, b)| same(*a, *b)), "{values:?}");
                let values = decode_e4m3(&tensor, scale, DType::BF16)?.to_vec1::<bf16>()?;
                let rounded = |value: f32| bf16::from_f32(value).to_f32();
                assert!(values.iter().zip(&expected).all(|(a, b)| same(a.to_f32(), rounded(*b))), "{values:?}");
                // A part that does not start at a multiple of a vector.
                let part = decode_e4m3(&tensor.narrow(0, 51, 100)?, scale, DType::F32)?.to_vec1::<f32>()?;
                assert!(part.iter().zip(&expected[51..]).all(|(a, b)| same(*a, *b)), "{part:?}");
            }
        }
        assert_eq!((e4m3(0x38), e4m3(0x7e), e4m3(0x81)), (1.0, 448.0, -(2f32.powi(-9))));
        Ok(())
    }

    #[test]
    fn unsupported_dtypes_are_refused() -> Result<()> {
        let codes = Tensor::zeros(4, DType::U8, &Device::Cpu)?;
        assert!(decode_e4m3(&codes, 1.0, DType::F64).unwrap_err().to_string().contains("F64"));
        let error = decode_e4m3(&codes.to_dtype(DType::F32)?, 1.0, DType::F32).unwrap_err();
        assert!(error.to_string().contains("F32"), "{error}");
        Ok(())
    }
}
