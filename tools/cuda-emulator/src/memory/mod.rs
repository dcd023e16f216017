//! The device's memory: allocations, where they are, and how much of the card they take.

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

/// Pages of what is freed go back to the system from this size on.
const LARGE: u64 = 1 << 20;

/// A card's memory.
#[derive(Debug)]
pub(crate) struct Memory {
    mode: Mode,
    pages: Pages,
    addresses: Addresses,
    owners: HashMap<u64, Owner>,
    ranges: Arc<Ranges>,
    /// What is in use and kept.
    pub(crate) usage: Usage,
}

impl Memory {
    /// Of `total` bytes. In [`Mode::Count`] what a pool allocates cannot be touched, and takes nothing of the host's memory.
    pub(crate) fn new(mode: Mode, total: u64) -> std::io::Result<Self> {
        let pages = Pages::reserve(match mode {
            Mode::Run => Access::Open,
            Mode::Count => Access::Closed,
        })?;
        let addresses = Addresses::new(pages.start, pages.end);
        let usage = Usage::new(total);
        Ok(Self { mode, pages, addresses, owners: HashMap::new(), ranges: Arc::default(), usage })
    }

    /// Room for `bytes`, which read as NaN until they are written; `None` when the card is full. Rounded up to 512 bytes
    /// as a real driver does, but only `bytes` of them may be accessed.
    pub(crate) fn allocate(&mut self, bytes: u64, owner: Owner) -> Option<u64> {
        let taken = bytes.checked_next_multiple_of(ALIGNMENT)?;
        self.usage.add(taken, owner)?;
        let Some(address) = self.addresses.take(taken) else {
            eprintln!("emulator: no addresses are left for {bytes} bytes, though the card has room");
            self.usage.subtract(taken, owner);
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

    /// Frees the allocation that begins at `address`; `None` if none does.
    pub(crate) fn free(&mut self, address: u64) -> Option<()> {
        let owner = self.owners.remove(&address)?;
        let end = Arc::make_mut(&mut self.ranges).remove(address)?;
        let taken = (end - address).next_multiple_of(ALIGNMENT);
        self.usage.subtract(taken, owner);
        self.addresses.give_back(address, taken);
        if self.mode == Mode::Run && taken >= LARGE {
            self.pages.give_back(address, taken as usize);
        }
        Some(())
    }

    /// The allocations as they are now.
    pub(crate) fn ranges(&self) -> &Arc<Ranges> {
        &self.ranges
    }
}

/// This process's card's memory. Where both are held, the driver's lock is taken before this one.
pub(crate) fn memory() -> MutexGuard<'static, Memory> {
    static MEMORY: LazyLock<Mutex<Memory>> = LazyLock::new(|| {
        let settings = settings();
        let memory = Memory::new(settings.mode, settings.memory);
        Mutex::new(memory.unwrap_or_else(|error| panic!("addresses for the emulated memory: {error}")))
    });
    MEMORY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory for a module's globals, which may be written in either mode; `None` when the card is full.
pub(crate) fn allocate(bytes: usize) -> Option<u64> {
    memory().allocate(bytes as u64, Owner::Driver)
}

/// Frees what [`allocate`] gave.
pub(crate) fn free(address: u64) {
    memory().free(address);
}

/// The allocations as they are now. Cheap, if it is dropped before the next allocation.
pub(crate) fn ranges() -> Arc<Ranges> {
    memory().ranges().clone()
}

#[cfg(test)]
mod tests;
