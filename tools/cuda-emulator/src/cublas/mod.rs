//! The functions of cuBLAS that candle calls: matrix products, computed on the host.

mod compute;
mod functions;
mod gemm;
mod status;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use crate::driver::device::Device;
use crate::settings::Mode;
use gemm::Gemm;
use status::{CublasStatus, Result};

/// Checks and counts a product, and computes it in run mode.
fn multiply(device: &mut Device, handle: usize, product: Result<Gemm>) -> Result {
    let blas = device.blas.get(handle).map_err(|_| CublasStatus::NotInitialized)?;
    device.stream(blas.stream).map_err(|_| CublasStatus::NotInitialized)?;
    let product = product.and_then(Gemm::validated).inspect_err(|status| {
        eprintln!("emulator: matrix product rejected: {status:?}");
    })?;
    if product.is_empty() {
        return Ok(());
    }
    for (what, operand) in product.operands() {
        let Some((address, bytes)) = operand else { continue };
        device.check(what, address, bytes).map_err(|_| CublasStatus::ExecutionFailed)?;
    }
    let start = Instant::now();
    if device.mode == Mode::Run {
        compute::compute(&product);
    }
    let time = if device.mode == Mode::Run { start.elapsed() } else { Duration::ZERO };
    device.report.record_product(&product.shape(), time);
    Ok(())
}
