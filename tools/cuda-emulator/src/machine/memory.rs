//! Loads and stores: whether a thread may go there, and what is there.

use std::sync::Mutex;

use half::bf16;

use super::lanes::{LANES, Lanes};
use super::number::Number;
use super::roll::Roll;
use super::visibility::Visibility;
use crate::memory::Ranges;
use crate::ptx::{Atomic, DYNAMIC_SHARED, Space, Type};

/// Where a block's and a thread's own memory begin among generic addresses.
const SHARED: u64 = 1 << 56;
const LOCAL: u64 = 2 << 56;

/// What a byte holds before it is written: NaN in any float.
pub(super) const POISON: u8 = 0xff;

/// Atomic operations of blocks that run beside each other.
static ATOMIC: Mutex<()> = Mutex::new(());

/// The memory of a block, and what is known of its warpgroups.
pub(super) struct Shared {
    declared: Vec<u8>,
    dynamic: Vec<u8>,
    pub(super) visibility: Visibility,
    rolls: Vec<Roll>,
}

impl Shared {
    /// Watched for the products of `warpgroups`, if there are any.
    pub(super) fn new(declared: usize, dynamic: usize, warpgroups: usize) -> Self {
        Self {
            declared: vec![POISON; declared],
            dynamic: vec![POISON; dynamic],
            visibility: Visibility::new(if warpgroups > 0 { dynamic } else { 0 }),
            rolls: vec![Roll::default(); warpgroups],
        }
    }

    /// As a new block finds it.
    pub(super) fn forget(&mut self) {
        self.declared.fill(POISON);
        self.dynamic.fill(POISON);
        self.visibility.forget();
        self.rolls.fill(Roll::default());
    }

    /// All warps are at a barrier, or at their end.
    pub(super) fn pass_barrier(&mut self) -> Result<(), String> {
        self.visibility.pass_barrier();
        self.rolls.iter_mut().try_for_each(Roll::close)
    }

    pub(super) fn roll(&mut self, warpgroup: usize) -> &mut Roll {
        &mut self.rolls[warpgroup]
    }

    /// What a product reads at a descriptor's address, which has 18 bits: too few to tell declared memory from the other.
    pub(super) fn product_element(&self, at: usize) -> Result<f32, String> {
        if !self.declared.is_empty() {
            return Err("products from shared memory are not emulated in kernels that declare some themselves".into());
        }
        let bytes = self.dynamic.get(at..at + 2);
        let bytes = bytes.ok_or_else(|| format!("a product reads at {at:#x} of shared memory, where nothing is"))?;
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

/// What the threads of one warp can reach.
pub(super) struct Reach<'a> {
    pub(super) shared: &'a mut Shared,
    ranges: &'a Ranges,
    params: &'a [u8],
    /// The allocation that was found last.
    last: (u64, u64),
}

impl<'a> Reach<'a> {
    pub(super) fn new(shared: &'a mut Shared, ranges: &'a Ranges, params: &'a [u8]) -> Self {
        Self { shared, ranges, params, last: (0, 0) }
    }

    /// The address of `bytes` at `address` in `space`, for `lane` with its own memory in `local`.
    pub(super) fn at(
        &mut self,
        space: Space,
        address: u64,
        bytes: usize,
        lane: usize,
        local: &mut [u8],
    ) -> Result<*mut u8, String> {
        if !address.is_multiple_of(bytes as u64) {
            return Err(format!("{bytes} bytes at {address:#x} ({space:?}), which is not a multiple of {bytes}"));
        }
        let outside = || format!("{bytes} bytes at {address:#x} ({space:?}), where nothing is");
        match space {
            Space::Generic if address >= LOCAL => self.at(Space::Local, address - LOCAL, bytes, lane, local),
            Space::Generic if address >= SHARED => self.at(Space::Shared, address - SHARED, bytes, lane, local),
            Space::Generic | Space::Global => {
                let end = address.checked_add(bytes as u64).ok_or_else(outside)?;
                if address < self.last.0 || end > self.last.1 {
                    self.last = self.ranges.find(address).filter(|(_, last)| end <= *last).ok_or_else(outside)?;
                }
                Ok(address as *mut u8)
            }
            // Shared addresses are of 32 bits.
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

    /// Tells those who watch that `warp` writes there.
    pub(super) fn wrote(&mut self, space: Space, address: u64, bytes: usize, warp: usize) -> Result<(), String> {
        dynamic(space, address).map_or(Ok(()), |at| self.shared.visibility.write(at, bytes, warp))
    }

    /// Tells them that a copy to shared memory is begun.
    pub(super) fn began(&mut self, address: u64, bytes: usize) -> Result<(), String> {
        dynamic(Space::Shared, address).map_or(Ok(()), |at| self.shared.visibility.begin(at, bytes))
    }
}

/// The byte of a block's dynamic memory at an address, if it is one of those.
fn dynamic(space: Space, address: u64) -> Option<usize> {
    let address = match space {
        Space::Shared => address & 0xffff_ffff,
        Space::Generic if (SHARED..LOCAL).contains(&address) => address - SHARED,
        _ => return None,
    };
    address.checked_sub(DYNAMIC_SHARED).map(|at| at as usize)
}

/// A space's address as a generic one, or back.
pub(super) fn window(space: Space, to_generic: bool, a: &Lanes) -> Lanes {
    let base = match space {
        Space::Shared => SHARED,
        Space::Local => LOCAL,
        _ => 0,
    };
    a.map(|address| if to_generic { (address & (SHARED - 1)) + base } else { address.wrapping_sub(base) })
}

/// Reads a value; signed ones fill the register with their sign.
///
/// # Safety
///
/// `from` must be readable for as many bytes as `kind` has.
pub(super) unsafe fn read(kind: Type, from: *const u8) -> u64 {
    // SAFETY: the caller's promise.
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
///
/// `to` must be writable for as many bytes as `kind` has.
pub(super) unsafe fn write(kind: Type, to: *mut u8, value: u64) {
    // SAFETY: the caller's promise.
    unsafe { std::ptr::copy_nonoverlapping(value.to_le_bytes().as_ptr(), to, kind.bytes()) }
}

/// Does an atomic operation, and says what was there before.
///
/// # Safety
///
/// `at` must be readable and writable for as many bytes as `kind` has.
pub(super) unsafe fn atomic(function: Atomic, kind: Type, at: *mut u8, a: u64, b: u64) -> Result<u64, String> {
    let _guard = ATOMIC.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // SAFETY: the caller's promise.
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
        (Atomic::Add, Type::F32) => (f32::of(old) + f32::of(a)).bits(),
        (Atomic::Add, Type::F64) => (f64::of(old) + f64::of(a)).bits(),
        (Atomic::Add, Type::F16) => (half::f16::of(old) + half::f16::of(a)).bits(),
        (Atomic::Add, Type::Bf16) => (half::bf16::of(old) + half::bf16::of(a)).bits(),
        (Atomic::Add, _) if kind.is_integer() => old.wrapping_add(a),
        (Atomic::Minimum, Type::U32 | Type::U64) => old.min(a),
        (Atomic::Maximum, Type::U32 | Type::U64) => old.max(a),
        (Atomic::Minimum, Type::S32) => i32::of(old).min(i32::of(a)).bits(),
        (Atomic::Maximum, Type::S32) => i32::of(old).max(i32::of(a)).bits(),
        _ => return Err(format!("atomic {function:?} of {kind:?} is not emulated")),
    };
    // SAFETY: the caller's promise.
    unsafe { write(kind, at, new) };
    Ok(old)
}
