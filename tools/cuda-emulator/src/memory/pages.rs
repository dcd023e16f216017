//! Address range of device memory: a reservation in the host's address space, much larger than the device's memory.

use std::io;

/// Preferred start, far from the host's own mappings, so that device addresses are recognisable.
const BASE: usize = 0x2000_0000_0000;

/// Size of the reservation in bytes. Each size class may have taken up the whole device at some time.
const RESERVED: usize = 16 << 40;

/// Access to the pages of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Readable and writable.
    Open,
    /// Inaccessible, except for ranges passed to [`Pages::open`]. An access faults.
    Closed,
}

/// A reserved address range.
#[derive(Debug)]
pub(crate) struct Pages {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Pages {
    pub(crate) fn reserve(access: Access) -> io::Result<Self> {
        let protection = match access {
            Access::Open => libc::PROT_READ | libc::PROT_WRITE,
            Access::Closed => libc::PROT_NONE,
        };
        let flags = libc::MAP_NORESERVE | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: without MAP_FIXED the address is only a hint, so no existing mapping is replaced.
        let start = unsafe { libc::mmap(BASE as *mut _, RESERVED, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: start as u64, end: start as u64 + RESERVED as u64 })
    }

    /// Makes the pages that contain the range accessible.
    pub(crate) fn open(&self, address: u64, bytes: usize) {
        let (first, last) = (address & !4095, (address + bytes as u64).next_multiple_of(4096));
        self.assert_inside(first, last);
        // SAFETY: the range was asserted to lie within this reservation, so no other memory is affected.
        unsafe { libc::mprotect(first as *mut _, (last - first) as usize, libc::PROT_READ | libc::PROT_WRITE) };
    }

    /// Fills a range of accessible pages.
    pub(crate) fn fill(&self, address: u64, byte: u8, bytes: usize) {
        self.assert_inside(address, address + bytes as u64);
        // SAFETY: the range was asserted to lie within this reservation, the pages are accessible, and no Rust
        // reference points to them.
        unsafe { std::ptr::write_bytes(address as *mut u8, byte, bytes) };
    }

    /// Returns the pages that lie entirely within the range to the operating system.
    pub(crate) fn release(&self, address: u64, bytes: usize) {
        let (first, last) = (address.next_multiple_of(4096), (address + bytes as u64) & !4095);
        if first < last {
            self.assert_inside(first, last);
            // SAFETY: the range was asserted to lie within this reservation. Its pages read as zeros afterwards; no
            // Rust reference points to them.
            unsafe { libc::madvise(first as *mut _, (last - first) as usize, libc::MADV_DONTNEED) };
        }
    }

    fn assert_inside(&self, start: u64, end: u64) {
        assert!(self.start <= start && start <= end && end <= self.end, "{start:#x}..{end:#x} is not device memory");
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping belongs to this reservation alone, and no Rust reference points to it.
        unsafe { libc::munmap(self.start as *mut _, (self.end - self.start) as usize) };
    }
}
