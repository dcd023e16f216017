//! Page-locked memory of the host. Copies from it go on beside the host's own work, so each lands here as late as it may on
//! a card: when the host waits for it, or when another call could need it.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{c_uint, c_void};

use super::call::{Out, driver};
use super::status::{Result, Status};

/// As a card's driver aligns it.
const PAGE: usize = 4096;

/// All of it, and the copies under way.
#[derive(Debug, Default)]
pub(crate) struct Pinned {
    /// Bytes by address.
    allocations: BTreeMap<usize, usize>,
    under_way: VecDeque<Underway>,
    /// Copies that were begun so far.
    begun: u64,
}

#[derive(Debug)]
struct Underway {
    number: u64,
    to: u64,
    from: usize,
    bytes: usize,
}

impl Pinned {
    /// Whether the bytes are page-locked.
    pub(crate) fn holds(&self, from: *const c_void, bytes: usize) -> bool {
        let from = from.addr();
        self.allocations.range(..=from).next_back().is_some_and(|(start, size)| from + bytes <= start + size)
    }

    /// Begins a copy to checked memory of the device.
    pub(crate) fn copy(&mut self, to: u64, from: *const c_void, bytes: usize) {
        self.begun += 1;
        self.under_way.push_back(Underway { number: self.begun, to, from: from.expose_provenance(), bytes });
    }

    /// What [`Pinned::land`] takes to end all copies begun so far.
    pub(crate) fn begun(&self) -> u64 {
        self.begun
    }

    /// Ends the first `count` of all copies.
    pub(crate) fn land(&mut self, count: u64) {
        while let Some(copy) = self.under_way.pop_front_if(|copy| copy.number <= count) {
            let from = std::ptr::with_exposed_provenance::<u8>(copy.from);
            // SAFETY: the source is page-locked memory that cannot be freed before, and the target was checked.
            unsafe { std::ptr::copy(from, copy.to as *mut u8, copy.bytes) };
        }
    }

    fn allocate(&mut self, bytes: usize) -> Result<*mut c_void> {
        let layout = layout(bytes)?;
        // SAFETY: it is not empty.
        let address = unsafe { alloc(layout) };
        if address.is_null() {
            return Err(Status::OutOfMemory);
        }
        // What nobody wrote is no number.
        // SAFETY: just allocated.
        unsafe { address.write_bytes(0xff, bytes) };
        self.allocations.insert(address.expose_provenance(), bytes);
        Ok(address.cast())
    }

    fn free(&mut self, address: *mut c_void) -> Result {
        let bytes = *self.allocations.get(&address.addr()).ok_or(Status::InvalidValue)?;
        let range = address.addr()..address.addr() + bytes;
        if self.under_way.iter().any(|copy| range.contains(&copy.from)) {
            eprintln!("emulator: page-locked memory at {address:?} is freed while a copy from it may be under way");
            return Err(Status::InvalidValue);
        }
        self.allocations.remove(&address.addr());
        // SAFETY: allocated above with this layout.
        unsafe { dealloc(address.cast(), layout(bytes)?) };
        Ok(())
    }
}

fn layout(bytes: usize) -> Result<Layout> {
    let layout = Layout::from_size_align(bytes, PAGE).map_err(|_| Status::InvalidValue)?;
    if bytes == 0 { Err(Status::InvalidValue) } else { Ok(layout) }
}

driver! {
    /// Page-locked memory.
    fn cuMemHostAlloc(address: Out<*mut c_void>, bytes: usize, flags: c_uint) -> Context |device| {
        if flags > 7 {
            return Err(Status::InvalidValue);
        }
        address.put(device.pinned.allocate(bytes)?)
    }

    /// Frees page-locked memory.
    fn cuMemFreeHost(address: *mut c_void) -> Context |device| { device.pinned.free(address) }
}
