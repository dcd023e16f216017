//! What the card can do: an H200's numbers, but for the capability, which can be set.

use std::ffi::{c_int, c_uint};

/// Shared memory of a block where a kernel's attribute does not allow more.
pub(crate) const SHARED: u32 = 48 << 10;

/// Shared memory that a kernel's attribute can allow.
pub(crate) const SHARED_OPT_IN: u32 = 227 << 10;

/// Threads of a block, and of each of its dimensions.
pub(crate) const BLOCK: (u32, [u32; 3]) = (1024, [1024, 1024, 64]);

/// Blocks of a grid's dimensions.
pub(crate) const GRID: [u32; 3] = [i32::MAX as u32, 65_535, 65_535];

/// A device's attribute by number; `None` for numbers that there are none of.
pub(crate) fn of_device(attribute: c_uint, (major, minor): (c_int, c_int)) -> Option<c_int> {
    Some(match attribute {
        1 => BLOCK.0 as c_int,
        2..=4 => BLOCK.1[attribute as usize - 2] as c_int,
        5..=7 => GRID[attribute as usize - 5] as c_int,
        8 => SHARED as c_int,
        // Constant memory, warp size, pitch.
        9 => 64 << 10,
        10 => 32,
        11 => c_int::MAX,
        // Registers of a block and of a multiprocessor.
        12 | 82 => 65_536,
        // Clock rates in kHz, of the cores and of the memory, and the memory's width in bits.
        13 => 1_980_000,
        36 => 3_201_000,
        37 => 6144,
        14 => 512,
        16 => 132,
        38 => 50 << 20,
        39 => 2048,
        40 => 3,
        // Overlapping copies, mapped host memory, concurrent kernels, error correction, unified addresses.
        15 | 19 | 31 | 32 | 41 => 1,
        75 => major,
        76 => minor,
        // Stream priorities, caches, compute preemption.
        78..=80 | 90 => 1,
        81 => 228 << 10,
        97 => SHARED_OPT_IN as c_int,
        106 => 32,
        111 => 1024,
        // Memory pools.
        115 => 1,
        17..=150 => 0,
        _ => return None,
    })
}
