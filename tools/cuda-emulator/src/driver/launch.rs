//! Launches: whether a card would take them, then running or only counting them.

use std::ffi::{c_uint, c_void};
use std::sync::Arc;
use std::time::Instant;

use super::attributes::{BLOCK, GRID};
use super::call::driver;
use super::device::Device;
use super::modules::Function;
use super::status::{Result, Status};
use crate::machine::{Kernel, Launch};
use crate::memory::{self, Ranges};
use crate::settings::{Mode, settings};

/// The extent of a launch.
#[derive(Debug, Clone, Copy)]
struct Extent {
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
}

/// Why a card would not take a launch.
fn refusal(function: &Function, extent: Extent) -> Option<(Status, String)> {
    let Extent { grid, block, shared } = extent;
    let outside =
        |sizes: [u32; 3], most: [u32; 3]| sizes.iter().zip(most).any(|(size, most)| !(1..=most).contains(size));
    if outside(grid, GRID) {
        return Some((Status::InvalidValue, format!("a grid of {grid:?} blocks")));
    }
    let threads: u64 = block.iter().map(|size| u64::from(*size)).product();
    if outside(block, BLOCK.1) || threads > u64::from(BLOCK.0) {
        return Some((Status::InvalidValue, format!("blocks of {block:?} threads")));
    }
    let most = function.kernel.max_threads.unwrap_or(BLOCK.0);
    if threads > u64::from(most) {
        return Some((Status::LaunchOutOfResources, format!("blocks of {threads} threads, but {most} is its most")));
    }
    let allowed = function.dynamic;
    (shared > allowed)
        .then(|| (Status::InvalidValue, format!("{shared} bytes of dynamic shared memory, but {allowed} are allowed")))
}

/// The parameters as a kernel sees them.
///
/// # Safety
/// `params` points to a pointer to each parameter's value.
unsafe fn gather(kernel: &Kernel, params: *const *const c_void) -> Result<Vec<u8>> {
    let end = kernel.params.iter().map(|param| param.offset + param.bytes).max().unwrap_or(0);
    let mut buffer = vec![0; end];
    for (i, param) in kernel.params.iter().enumerate() {
        if params.is_null() {
            return Err(Status::InvalidValue);
        }
        // SAFETY: there is a pointer for each parameter, as the caller says.
        let value = unsafe { params.add(i).read() };
        if value.is_null() {
            return Err(Status::InvalidValue);
        }
        let to = &mut buffer[param.offset..param.offset + param.bytes];
        // SAFETY: it points to a value of the parameter's size, as the caller says.
        unsafe { value.cast::<u8>().copy_to_nonoverlapping(to.as_mut_ptr(), param.bytes) };
    }
    Ok(buffer)
}

/// From each parameter that is an address to the end of its allocation: no fewer bytes than the kernel should touch, if it
/// touches each once.
fn reachable(kernel: &Kernel, params: &[u8], ranges: &Ranges) -> u64 {
    let addresses = kernel.params.iter().filter(|param| param.bytes == 8).filter_map(|param| {
        let bytes = params[param.offset..param.offset + 8].try_into().ok()?;
        let address = u64::from_le_bytes(bytes);
        ranges.find(address).map(|(_, end)| end - address)
    });
    addresses.sum()
}

fn launch(device: &mut Device, function: usize, extent: Extent, params: *const *const c_void) -> Result {
    let function = device.functions.get(function)?;
    let kernel = Arc::clone(&function.kernel);
    let name = &kernel.name;
    if let Some((status, why)) = refusal(function, extent) {
        eprintln!("emulator: {name} is not launched: {why}");
        return Err(status);
    }
    // SAFETY: a launch's parameters are a pointer for each.
    let params = unsafe { gather(&kernel, params) }.inspect_err(|_| {
        eprintln!("emulator: {name} is not launched: a parameter is null");
    })?;
    let Extent { grid, block, shared } = extent;
    if settings().trace {
        eprintln!("emulator: {name} grid {grid:?} block {block:?} shared {shared}");
    }
    let ranges = memory::ranges();
    let threads = grid.iter().chain(&block).map(|size| u64::from(*size)).product();
    device.report.launched(name, threads, reachable(&kernel, &params, &ranges));
    device.launches += 1;
    if settings().fault == Some(device.launches) {
        return Err(device.fail(format!("{name}: launch {} is to fail", device.launches)));
    }
    if device.mode == Mode::Count {
        return Ok(());
    }
    let start = Instant::now();
    let launch = Launch { grid, block, shared, params: &params, memory: &ranges };
    let ran = kernel.launch(&launch);
    device.report.emulated(name, start.elapsed());
    ran.map_err(|why| device.fail(format!("{name} (grid {grid:?}, block {block:?}): {why}")))
}

driver! {
    /// Runs a kernel.
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
            eprintln!("emulator: parameters in one buffer are not supported");
            return Err(Status::NotSupported);
        }
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        launch(device, function, Extent { grid, block, shared }, params)
    }
}

#[cfg(test)]
#[path = "launch_tests.rs"]
mod tests;
