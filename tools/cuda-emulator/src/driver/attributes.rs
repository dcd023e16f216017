//! Device attributes: those of an H200, except for the compute capability, which is a setting.

use std::ffi::{c_int, c_uint};

/// Default limit of a block's shared memory, in bytes.
pub(crate) const SHARED_MEMORY: u32 = 48 << 10;

/// Limit of a block's shared memory that a kernel can opt in to, in bytes.
pub(crate) const SHARED_MEMORY_OPT_IN: u32 = 227 << 10;

/// Limit of a block's threads.
pub(crate) const MAX_BLOCK_THREADS: u32 = 1024;

/// Limits of a block: threads per dimension.
pub(crate) const MAX_BLOCK: [u32; 3] = [1024, 1024, 64];

/// Limits of a grid: blocks per dimension.
pub(crate) const MAX_GRID: [u32; 3] = [i32::MAX as u32, 65_535, 65_535];

/// Returns the device attribute `attribute` (a `CUdevice_attribute` value), or `None` if it is undefined.
pub(crate) fn device_attribute(attribute: c_uint, (major, minor): (c_int, c_int)) -> Option<c_int> {
    Some(match attribute {
        1 => MAX_BLOCK_THREADS as c_int,
        2..=4 => MAX_BLOCK[attribute as usize - 2] as c_int,
        5..=7 => MAX_GRID[attribute as usize - 5] as c_int,
        8 => SHARED_MEMORY as c_int,
        // Constant memory, warp size, maximum pitch.
        9 => 64 << 10,
        10 => 32,
        11 => c_int::MAX,
        // Registers per block and per multiprocessor.
        12 | 82 => 65_536,
        // Clock rates of the cores and of the memory in kHz, and the memory bus width in bits.
        13 => 1_980_000,
        36 => 3_201_000,
        37 => 6144,
        14 => 512,
        16 => 132,
        38 => 50 << 20,
        39 => 2048,
        40 => 3,
        // Copy overlap, mapped host memory, concurrent kernels, ECC, unified addressing.
        15 | 19 | 31 | 32 | 41 => 1,
        75 => major,
        76 => minor,
        // Stream priorities, L1 caches, compute preemption.
        78..=80 | 90 => 1,
        81 => 228 << 10,
        97 => SHARED_MEMORY_OPT_IN as c_int,
        106 => 32,
        111 => 1024,
        // Memory pools.
        115 => 1,
        17..=150 => 0,
        _ => return None,
    })
}
