//! Page-locked host memory. Copies from it are asynchronous on a GPU, so each copy is performed here as late as a GPU
//! may perform it: when the host waits for it, or before a call that could depend on it. This exposes missing
//! synchronisation.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::c_void;

use super::status::{CudaStatus, Result};

/// Alignment of page-locked allocations.
const PAGE: usize = 4096;

/// Page-locked allocations and pending copies from them.
#[derive(Debug, Default)]
pub(crate) struct Pinned {
    /// Sizes by address.
    allocations: BTreeMap<usize, usize>,
    pending: VecDeque<PendingCopy>,
    /// Number of copies started so far.
    started: u64,
}

#[derive(Debug)]
struct PendingCopy {
    number: u64,
    to: u64,
    from: usize,
    bytes: usize,
}

impl Pinned {
    /// Whether a range lies within a page-locked allocation.
    pub(crate) fn contains(&self, from: *const c_void, bytes: usize) -> bool {
        let from = from.addr();
        self.allocations.range(..=from).next_back().is_some_and(|(start, size)| from + bytes <= start + size)
    }

    /// Starts a copy to device memory that was already checked.
    pub(crate) fn start_copy(&mut self, to: u64, from: *const c_void, bytes: usize) {
        self.started += 1;
        self.pending.push_back(PendingCopy { number: self.started, to, from: from.expose_provenance(), bytes });
    }

    /// Number of copies started so far: the argument with which [`Pinned::complete`] completes all of them.
    pub(crate) fn started(&self) -> u64 {
        self.started
    }

    /// Completes the copies up to number `count`.
    pub(crate) fn complete(&mut self, count: u64) {
        while let Some(copy) = self.pending.pop_front_if(|copy| copy.number <= count) {
            let from = std::ptr::with_exposed_provenance::<u8>(copy.from);
            // SAFETY: the source lies within a page-locked allocation, which `free` keeps while copies from it are
            // pending; the destination was checked when the copy was started.
            unsafe { std::ptr::copy(from, copy.to as *mut u8, copy.bytes) };
        }
    }

    /// Allocates page-locked memory.
    pub(crate) fn allocate(&mut self, bytes: usize) -> Result<*mut c_void> {
        let layout = layout(bytes)?;
        // SAFETY: `layout` has a non-zero size.
        let address = unsafe { alloc(layout) };
        if address.is_null() {
            return Err(CudaStatus::OutOfMemory);
        }
        // Unwritten bytes read as NaN.
        // SAFETY: `address` is valid for writes of `bytes`, the size it was allocated with.
        unsafe { address.write_bytes(0xff, bytes) };
        self.allocations.insert(address.expose_provenance(), bytes);
        Ok(address.cast())
    }

    /// Frees page-locked memory. Fails while copies from it are pending.
    pub(crate) fn free(&mut self, address: *mut c_void) -> Result {
        let bytes = *self.allocations.get(&address.addr()).ok_or(CudaStatus::InvalidValue)?;
        let range = address.addr()..address.addr() + bytes;
        if self.pending.iter().any(|copy| range.contains(&copy.from)) {
            eprintln!("emulator: page-locked memory at {address:?} is freed while a copy from it is pending");
            return Err(CudaStatus::InvalidValue);
        }
        self.allocations.remove(&address.addr());
        // SAFETY: `address` was allocated by `allocate` with the same layout, and was removed from the table.
        unsafe { dealloc(address.cast(), layout(bytes)?) };
        Ok(())
    }
}

fn layout(bytes: usize) -> Result<Layout> {
    let layout = Layout::from_size_align(bytes, PAGE).map_err(|_| CudaStatus::InvalidValue)?;
    if bytes == 0 { Err(CudaStatus::InvalidValue) } else { Ok(layout) }
}
