//! Loading of kernels before the first request.

use candle_core::{DType, Device, Result, Tensor};

/// Loads all kernels and cuBLAS, which takes seconds that the first request would otherwise wait. Does nothing on a
/// CPU. Kernels for quantized weights are loaded with the first such weight.
pub(crate) fn warm_up(device: &Device, dtype: DType) -> Result<()> {
    if device.is_cpu() {
        return Ok(());
    }
    let start = std::time::Instant::now();
    touch_kernels(device, dtype)?;
    ltx2_models::load_kernels(device)?;
    tracing::info!(seconds = start.elapsed().as_secs_f64(), "kernels loaded");
    Ok(())
}

/// Runs one operation of each kernel module of candle; the comments name the module.
fn touch_kernels(device: &Device, dtype: DType) -> Result<()> {
    let x = Tensor::ones((1, 2, 16, 16), DType::F32, device)?; // fill
    let x = x.affine(0.5, 0.25)?; // affine
    let x = (&x + x.exp()?)?; // binary, unary
    let x = x.avg_pool2d(2)?; // conv
    let x = x.ge(1f32)?.where_cond(&x, &x.zeros_like()?)?; // ternary
    let rows = x.to_dtype(dtype)?.reshape((16, 8))?; // cast
    let ids = Tensor::new(&[3u32, 1], device)?;
    let product = rows.index_select(&ids, 0)?.matmul(&rows.t()?)?; // indexing, cuBLAS
    product.sum_all()?.to_dtype(DType::F32)?.to_scalar::<f32>()?; // reduce
    device.synchronize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_run_in_both_precisions() {
        for dtype in [DType::F32, DType::BF16] {
            touch_kernels(&Device::Cpu, dtype).unwrap();
        }
    }
}
