//! Kernel launches: checks against the device's limits, then execution or counting.

use std::ffi::{c_uint, c_void};
use std::sync::Arc;
use std::time::Instant;

use super::attributes::{MAX_BLOCK, MAX_BLOCK_THREADS, MAX_GRID};
use super::call::driver;
use super::device::Device;
use super::objects::Function;
use super::status::{CudaStatus, Result};
use crate::machine::{Launch, LoadedKernel};
use crate::memory::{self, Ranges};
use crate::settings::{Mode, settings};

/// Grid and block sizes of a launch, and its bytes of dynamic shared memory.
#[derive(Debug, Clone, Copy)]
struct LaunchSize {
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
}

/// Returns why a launch exceeds the limits of the device or of the kernel, if it does.
fn reject_reason(function: &Function, launch_size: LaunchSize) -> Option<(CudaStatus, String)> {
    let LaunchSize { grid, block, shared } = launch_size;
    let outside =
        |sizes: [u32; 3], most: [u32; 3]| sizes.iter().zip(most).any(|(size, most)| !(1..=most).contains(size));
    if outside(grid, MAX_GRID) {
        return Some((
            CudaStatus::InvalidValue,
            format!("a grid of {grid:?} blocks exceeds the limit of {MAX_GRID:?}"),
        ));
    }
    let threads: u64 = block.iter().map(|size| u64::from(*size)).product();
    if outside(block, MAX_BLOCK) || threads > u64::from(MAX_BLOCK_THREADS) {
        return Some((
            CudaStatus::InvalidValue,
            format!("blocks of {block:?} threads exceed the limits of the device"),
        ));
    }
    let most = function.kernel.max_threads.unwrap_or(MAX_BLOCK_THREADS);
    if threads > u64::from(most) {
        return Some((
            CudaStatus::LaunchOutOfResources,
            format!("blocks of {threads} threads exceed the kernel's limit of {most}"),
        ));
    }
    let allowed = function.max_dynamic_shared;
    (shared > allowed).then(|| {
        (CudaStatus::InvalidValue, format!("{shared} bytes of dynamic shared memory exceed the limit of {allowed}"))
    })
}

/// Packs the parameter values into a buffer, at the offsets that the kernel declares.
///
/// # Safety
/// `params` is null or points to one pointer per parameter, each null or valid for reads of the parameter's size.
unsafe fn pack_parameters(kernel: &LoadedKernel, params: *const *const c_void) -> Result<Vec<u8>> {
    let end = kernel.params.iter().map(|param| param.offset + param.bytes).max().unwrap_or(0);
    let mut buffer = vec![0; end];
    for (i, param) in kernel.params.iter().enumerate() {
        if params.is_null() {
            return Err(CudaStatus::InvalidValue);
        }
        // SAFETY: the caller guarantees one pointer per parameter, and `params` is not null.
        let value = unsafe { params.add(i).read() };
        if value.is_null() {
            return Err(CudaStatus::InvalidValue);
        }
        let to = &mut buffer[param.offset..param.offset + param.bytes];
        // SAFETY: the caller guarantees that `value` is valid for reads of `param.bytes`; the slice is a separate
        // allocation of that length.
        unsafe { value.cast::<u8>().copy_to_nonoverlapping(to.as_mut_ptr(), param.bytes) };
    }
    Ok(buffer)
}

/// Returns the bytes from each pointer parameter to the end of its allocation, summed: an upper bound of the memory
/// traffic of a kernel that accesses each byte once.
fn reachable_bytes(kernel: &LoadedKernel, params: &[u8], ranges: &Ranges) -> u64 {
    let addresses = kernel.params.iter().filter(|param| param.bytes == 8).filter_map(|param| {
        let bytes = params[param.offset..param.offset + 8].try_into().ok()?;
        let address = u64::from_le_bytes(bytes);
        ranges.find(address).map(|(_, end)| end - address)
    });
    addresses.sum()
}

fn launch(device: &mut Device, function: usize, launch_size: LaunchSize, params: *const *const c_void) -> Result {
    let function = device.functions.get(function)?;
    let kernel = Arc::clone(&function.kernel);
    let name = &kernel.name;
    if let Some((status, reason)) = reject_reason(function, launch_size) {
        eprintln!("emulator: launch of {name} rejected: {reason}");
        return Err(status);
    }
    // SAFETY: `cuLaunchKernel` requires `params` to hold a valid pointer per kernel parameter.
    let params = unsafe { pack_parameters(&kernel, params) }.inspect_err(|_| {
        eprintln!("emulator: launch of {name} rejected: a parameter pointer is null");
    })?;
    let LaunchSize { grid, block, shared } = launch_size;
    if settings().trace {
        eprintln!("emulator: {name} grid {grid:?} block {block:?} shared {shared}");
    }
    let ranges = memory::ranges();
    let threads = grid.iter().chain(&block).map(|size| u64::from(*size)).product();
    device.report.record_launch(name, threads, reachable_bytes(&kernel, &params, &ranges));
    device.launches += 1;
    if settings().fault == Some(device.launches) {
        return Err(
            device.fail(format!("{name}: launch {} fails as requested by LTX2_EMULATED_FAULT", device.launches))
        );
    }
    if device.mode == Mode::Count {
        return Ok(());
    }
    let start = Instant::now();
    let launch = Launch { grid, block, shared, params: &params, memory: &ranges };
    let ran = kernel.launch(&launch);
    device.report.record_launch_time(name, start.elapsed());
    ran.map_err(|reason| device.fail(format!("{name} (grid {grid:?}, block {block:?}): {reason}")))
}

driver! {
    /// Launches a kernel.
    fn cuLaunchKernel(
        function: usize,
        grid_x: c_uint, grid_y: c_uint, grid_z: c_uint,
        block_x: c_uint, block_y: c_uint, block_z: c_uint,
        shared: c_uint,
        stream: usize,
        params: *const *const c_void,
        extra: *const *const c_void,
    ) -> Context |device| {
        device.stream(stream)?;
        if !extra.is_null() {
            eprintln!("emulator: launch parameters passed with `extra` are not supported");
            return Err(CudaStatus::NotSupported);
        }
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        launch(device, function, LaunchSize { grid, block, shared }, params)
    }
}

#[cfg(test)]
#[path = "launch_tests.rs"]
mod tests;
