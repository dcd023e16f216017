//! Device memory: allocations, their addresses and the device's capacity.

mod addresses;
mod pages;
mod ranges;
mod usage;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use addresses::{ALIGNMENT, Addresses};
use pages::{Access, Pages};
pub(crate) use ranges::Ranges;
pub(crate) use usage::{Owner, Usage};

use crate::settings::{Mode, settings};

/// Size from which freed memory is returned to the operating system.
const LARGE: u64 = 1 << 20;

/// Memory of the device.
#[derive(Debug)]
pub(crate) struct Memory {
    mode: Mode,
    pages: Pages,
    addresses: Addresses,
    owners: HashMap<u64, Owner>,
    ranges: Arc<Ranges>,
    /// Bytes in use and reserved.
    pub(crate) usage: Usage,
}

impl Memory {
    /// Creates device memory of `total` bytes. In [`Mode::Count`] the pool's allocations are inaccessible and take no
    /// host memory.
    pub(crate) fn new(mode: Mode, total: u64) -> std::io::Result<Self> {
        let pages = Pages::reserve(match mode {
            Mode::Run => Access::Open,
            Mode::Count => Access::Closed,
        })?;
        let addresses = Addresses::new(pages.start, pages.end);
        let usage = Usage::new(total);
        Ok(Self { mode, pages, addresses, owners: HashMap::new(), ranges: Arc::default(), usage })
    }

    /// Allocates `bytes`, which read as NaN until they are written, or returns `None` if the device is full. The size
    /// counts as rounded up to [`ALIGNMENT`], as with a real driver, but only `bytes` may be accessed.
    pub(crate) fn allocate(&mut self, bytes: u64, owner: Owner) -> Option<u64> {
        let rounded = bytes.checked_next_multiple_of(ALIGNMENT)?;
        self.usage.add(rounded, owner)?;
        let Some(address) = self.addresses.take(rounded) else {
            eprintln!("emulator: the address space is exhausted: cannot allocate {bytes} bytes");
            self.usage.subtract(rounded, owner);
            return None;
        };
        match (self.mode, owner) {
            (Mode::Run, _) => self.pages.fill(address, 0xff, bytes as usize),
            (Mode::Count, Owner::Driver) => self.pages.open(address, bytes as usize),
            (Mode::Count, Owner::Pool) => {}
        }
        self.owners.insert(address, owner);
        Arc::make_mut(&mut self.ranges).insert(address, address + bytes);
        Some(address)
    }

    /// Frees the allocation that starts at `address`, or returns `None` if there is none.
    pub(crate) fn free(&mut self, address: u64) -> Option<()> {
        let owner = self.owners.remove(&address)?;
        let end = Arc::make_mut(&mut self.ranges).remove(address)?;
        let rounded = (end - address).next_multiple_of(ALIGNMENT);
        self.usage.subtract(rounded, owner);
        self.addresses.release(address, rounded);
        if self.mode == Mode::Run && rounded >= LARGE {
            self.pages.release(address, rounded as usize);
        }
        Some(())
    }

    /// The current allocations.
    pub(crate) fn ranges(&self) -> &Arc<Ranges> {
        &self.ranges
    }
}

/// Locks the memory of the process's device. Lock order: the driver's lock first.
pub(crate) fn memory() -> MutexGuard<'static, Memory> {
    static MEMORY: LazyLock<Mutex<Memory>> = LazyLock::new(|| {
        let settings = settings();
        let memory = Memory::new(settings.mode, settings.memory);
        Mutex::new(
            memory.unwrap_or_else(|error| panic!("cannot reserve addresses for the emulated device memory: {error}")),
        )
    });
    MEMORY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Allocates memory for a module's globals, which is writable in both modes; `None` if the device is full.
pub(crate) fn allocate(bytes: usize) -> Option<u64> {
    memory().allocate(bytes as u64, Owner::Driver)
}

/// Frees memory from [`allocate`].
pub(crate) fn free(address: u64) {
    memory().free(address);
}

/// Returns a snapshot of the allocations. The next allocation copies the list if the snapshot is still alive.
pub(crate) fn ranges() -> Arc<Ranges> {
    memory().ranges().clone()
}

#[cfg(test)]
mod tests;
