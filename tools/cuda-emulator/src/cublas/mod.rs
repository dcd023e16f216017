//! The functions of cuBLAS that candle calls: matrix products, computed on the host.

mod compute;
mod functions;
mod product;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use crate::driver::device::Device;
use crate::settings::Mode;
use product::Product;

/// What cuBLAS answers where it is not success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Status {
    NotInitialized = 1,
    InvalidValue = 7,
    ExecutionFailed = 13,
    NotSupported = 15,
}

type Result<T = (), E = Status> = std::result::Result<T, E>;

/// A handle's settings.
#[derive(Debug, Default)]
pub(crate) struct Blas {
    stream: usize,
}

/// Checks a product, counts it, and computes it where kernels are run.
fn multiply(device: &mut Device, handle: usize, product: Result<Product>) -> Result {
    let blas = device.blas.get(handle).map_err(|_| Status::NotInitialized)?;
    device.stream(blas.stream).map_err(|_| Status::NotInitialized)?;
    let product = product.and_then(Product::checked).inspect_err(|status| {
        eprintln!("emulator: a product is not computed: {status:?}");
    })?;
    if product.is_empty() {
        return Ok(());
    }
    for (what, operand) in product.operands() {
        let Some((address, bytes)) = operand else { continue };
        device.check(what, address, bytes).map_err(|_| Status::ExecutionFailed)?;
    }
    let start = Instant::now();
    if device.mode == Mode::Run {
        compute::compute(&product);
    }
    let time = if device.mode == Mode::Run { start.elapsed() } else { Duration::ZERO };
    device.report.multiplied(&product.shape(), time);
    Ok(())
}
