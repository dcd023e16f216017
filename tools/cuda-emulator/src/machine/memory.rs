//! Memory accesses of a warp: bounds and alignment checks, loads, stores and atomics.

use std::sync::Mutex;

use half::bf16;

use super::issue_order::IssueOrder;
use super::lanes::{LANES, Lanes};
use super::value::Value;
use super::visibility::Visibility;
use crate::memory::Ranges;
use crate::ptx::{Atomic, DYNAMIC_SHARED, Space, Type};

/// Bases of the shared and local windows in the generic address space.
const SHARED_BASE: u64 = 1 << 56;
const LOCAL_BASE: u64 = 2 << 56;

/// Initial value of memory: NaN in every float type.
pub(super) const POISON: u8 = 0xff;

/// Serialises atomic operations of blocks that run in parallel.
static ATOMIC: Mutex<()> = Mutex::new(());

/// Shared memory of a block, and the state that checks its use by warpgroups.
pub(super) struct SharedMemory {
    declared: Vec<u8>,
    dynamic: Vec<u8>,
    pub(super) visibility: Visibility,
    issue_orders: Vec<IssueOrder>,
}

impl SharedMemory {
    /// Creates shared memory. Visibility is tracked if the kernel has `warpgroups` that execute `wgmma`.
    pub(super) fn new(declared: usize, dynamic: usize, warpgroups: usize) -> Self {
        Self {
            declared: vec![POISON; declared],
            dynamic: vec![POISON; dynamic],
            visibility: Visibility::new(if warpgroups > 0 { dynamic } else { 0 }),
            issue_orders: vec![IssueOrder::default(); warpgroups],
        }
    }

    /// Resets the memory for the next block.
    pub(super) fn reset(&mut self) {
        self.declared.fill(POISON);
        self.dynamic.fill(POISON);
        self.visibility.reset();
        self.issue_orders.fill(IssueOrder::default());
    }

    /// Called when all warps have arrived at a barrier or have exited.
    pub(super) fn pass_barrier(&mut self) -> Result<(), String> {
        self.visibility.pass_barrier();
        self.issue_orders.iter_mut().try_for_each(IssueOrder::finish)
    }

    pub(super) fn issue_order(&mut self, warpgroup: usize) -> &mut IssueOrder {
        &mut self.issue_orders[warpgroup]
    }

    /// Reads an element at an address from a descriptor. Its 18 bits cannot distinguish static from dynamic memory.
    pub(super) fn matrix_element(&self, at: usize) -> Result<f32, String> {
        if !self.declared.is_empty() {
            return Err("wgmma on shared memory is not supported in kernels that declare static shared memory".into());
        }
        let bytes = self.dynamic.get(at..at + 2);
        let bytes = bytes.ok_or_else(|| format!("wgmma reads shared memory at {at:#x}, which is out of bounds"))?;
        Ok(bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32())
    }

    fn bytes(&mut self, address: u64, bytes: usize) -> Option<*mut u8> {
        let (part, at) = match address.checked_sub(DYNAMIC_SHARED) {
            Some(at) => (&mut self.dynamic, at as usize),
            None => (&mut self.declared, address as usize),
        };
        part.get_mut(at..at.checked_add(bytes)?).map(<[u8]>::as_mut_ptr)
    }
}

/// Memory that the threads of a warp can access.
pub(super) struct WarpMemory<'a> {
    pub(super) shared: &'a mut SharedMemory,
    ranges: &'a Ranges,
    params: &'a [u8],
    /// The allocation of the last global access, cached.
    cached_range: (u64, u64),
}

impl<'a> WarpMemory<'a> {
    pub(super) fn new(shared: &'a mut SharedMemory, ranges: &'a Ranges, params: &'a [u8]) -> Self {
        Self { shared, ranges, params, cached_range: (0, 0) }
    }

    /// Resolves an access of `bytes` bytes by `lane`, whose local memory is in `local`, to a host address.
    pub(super) fn resolve(
        &mut self,
        space: Space,
        address: u64,
        bytes: usize,
        lane: usize,
        local: &mut [u8],
    ) -> Result<*mut u8, String> {
        if !address.is_multiple_of(bytes as u64) {
            return Err(format!("{bytes} bytes at {address:#x} ({space:?}), which is misaligned"));
        }
        let outside = || format!("{bytes} bytes at {address:#x} ({space:?}), which is out of bounds");
        match space {
            Space::Generic if address >= LOCAL_BASE => {
                self.resolve(Space::Local, address - LOCAL_BASE, bytes, lane, local)
            }
            Space::Generic if address >= SHARED_BASE => {
                self.resolve(Space::Shared, address - SHARED_BASE, bytes, lane, local)
            }
            Space::Generic | Space::Global => {
                let end = address.checked_add(bytes as u64).ok_or_else(outside)?;
                if address < self.cached_range.0 || end > self.cached_range.1 {
                    self.cached_range =
                        self.ranges.find(address).filter(|(_, last)| end <= *last).ok_or_else(outside)?;
                }
                Ok(address as *mut u8)
            }
            // Shared addresses are 32 bits wide.
            Space::Shared => self.shared.bytes(address & 0xffff_ffff, bytes).ok_or_else(outside),
            Space::Local => {
                let own = local.len() / LANES;
                let at = address as usize;
                if at.checked_add(bytes).is_none_or(|end| end > own) {
                    return Err(outside());
                }
                Ok(local[lane * own + at..].as_mut_ptr())
            }
            Space::Param => {
                let at = address as usize;
                self.params.get(at..at + bytes).map(|bytes| bytes.as_ptr().cast_mut()).ok_or_else(outside)
            }
        }
    }

    /// Records a write by `warp`, if it is to dynamic shared memory.
    pub(super) fn record_write(&mut self, space: Space, address: u64, bytes: usize, warp: usize) -> Result<(), String> {
        dynamic_offset(space, address).map_or(Ok(()), |at| self.shared.visibility.write(at, bytes, warp))
    }

    /// Records the start of an asynchronous copy to shared memory.
    pub(super) fn record_copy(&mut self, address: u64, bytes: usize) -> Result<(), String> {
        dynamic_offset(Space::Shared, address).map_or(Ok(()), |at| self.shared.visibility.begin_copy(at, bytes))
    }
}

/// Returns the offset of an address within dynamic shared memory, if it is in that range.
fn dynamic_offset(space: Space, address: u64) -> Option<usize> {
    let address = match space {
        Space::Shared => address & 0xffff_ffff,
        Space::Generic if (SHARED_BASE..LOCAL_BASE).contains(&address) => address - SHARED_BASE,
        _ => return None,
    };
    address.checked_sub(DYNAMIC_SHARED).map(|at| at as usize)
}

/// `cvta`: converts between a state space's addresses and generic addresses.
pub(super) fn convert_address(space: Space, to_generic: bool, a: &Lanes) -> Lanes {
    let base = match space {
        Space::Shared => SHARED_BASE,
        Space::Local => LOCAL_BASE,
        _ => 0,
    };
    a.map(|address| if to_generic { (address & (SHARED_BASE - 1)) + base } else { address.wrapping_sub(base) })
}

/// Reads a value from memory; signed values are sign-extended.
///
/// # Safety
/// `from` is valid for reads of `kind.bytes()` bytes.
pub(super) unsafe fn read(kind: Type, from: *const u8) -> u64 {
    // SAFETY: the caller guarantees `kind.bytes()` readable bytes, the size of the type that each arm reads.
    unsafe {
        match kind {
            Type::S8 => i64::from(from.cast::<i8>().read()) as u64,
            Type::S16 => i64::from(from.cast::<i16>().read_unaligned()) as u64,
            Type::S32 => i64::from(from.cast::<i32>().read_unaligned()) as u64,
            _ => match kind.bytes() {
                1 => u64::from(from.read()),
                2 => u64::from(from.cast::<u16>().read_unaligned()),
                4 => u64::from(from.cast::<u32>().read_unaligned()),
                _ => from.cast::<u64>().read_unaligned(),
            },
        }
    }
}

/// Writes a value.
///
/// # Safety
/// `to` is valid for writes of `kind.bytes()` bytes.
pub(super) unsafe fn write(kind: Type, to: *mut u8, value: u64) {
    // SAFETY: the caller guarantees `kind.bytes()` writable bytes; the source has 8 bytes, at least as many.
    unsafe { std::ptr::copy_nonoverlapping(value.to_le_bytes().as_ptr(), to, kind.bytes()) }
}

/// Performs an atomic operation and returns the previous value.
///
/// # Safety
/// `at` is valid for reads and writes of `kind.bytes()` bytes.
pub(super) unsafe fn atomic(function: Atomic, kind: Type, at: *mut u8, a: u64, b: u64) -> Result<u64, String> {
    let _guard = ATOMIC.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // SAFETY: the caller guarantees `kind.bytes()` readable bytes.
    let old = unsafe { read(kind, at) };
    let new = match (function, kind) {
        (Atomic::Exchange, _) => a,
        (Atomic::CompareAndSwap, _) => {
            let mask = u64::MAX >> (64 - 8 * kind.bytes());
            if (old ^ a) & mask == 0 { b } else { old }
        }
        (Atomic::And, _) => old & a,
        (Atomic::Or, _) => old | a,
        (Atomic::Xor, _) => old ^ a,
        (Atomic::Add, Type::F32) => (f32::from_register(old) + f32::from_register(a)).to_register(),
        (Atomic::Add, Type::F64) => (f64::from_register(old) + f64::from_register(a)).to_register(),
        (Atomic::Add, Type::F16) => (half::f16::from_register(old) + half::f16::from_register(a)).to_register(),
        (Atomic::Add, Type::Bf16) => (half::bf16::from_register(old) + half::bf16::from_register(a)).to_register(),
        (Atomic::Add, _) if kind.is_integer() => old.wrapping_add(a),
        (Atomic::Minimum, Type::U32 | Type::U64) => old.min(a),
        (Atomic::Maximum, Type::U32 | Type::U64) => old.max(a),
        (Atomic::Minimum, Type::S32) => i32::from_register(old).min(i32::from_register(a)).to_register(),
        (Atomic::Maximum, Type::S32) => i32::from_register(old).max(i32::from_register(a)).to_register(),
        _ => return Err(format!("unsupported atomic {function:?} on {kind:?}")),
    };
    // SAFETY: the caller guarantees `kind.bytes()` writable bytes.
    unsafe { write(kind, at, new) };
    Ok(old)
}
