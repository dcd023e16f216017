//! The addresses that device memory lies at: a reservation of the host's, much larger than the card.

use std::io;

/// Far from where the host has its own memory, so that an address tells whose it is.
const BASE: usize = 0x2000_0000_0000;

/// Bytes of addresses. Every size class may have had the whole card at some time.
const RESERVED: usize = 16 << 40;

/// Whether the host's pages may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Yes.
    Open,
    /// Touching one ends the process, unless [`Pages::open`] was called for it.
    Closed,
}

/// A reservation of addresses.
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
        // SAFETY: no mapping is replaced without MAP_FIXED: the address is a wish.
        let start = unsafe { libc::mmap(BASE as *mut _, RESERVED, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: start as u64, end: start as u64 + RESERVED as u64 })
    }

    /// Lets the pages around these bytes be used.
    pub(crate) fn open(&self, address: u64, bytes: usize) {
        let (first, last) = (address & !4095, (address + bytes as u64).next_multiple_of(4096));
        self.assert_inside(first, last);
        // SAFETY: the pages are this reservation's.
        unsafe { libc::mprotect(first as *mut _, (last - first) as usize, libc::PROT_READ | libc::PROT_WRITE) };
    }

    /// Sets bytes of open pages.
    pub(crate) fn fill(&self, address: u64, byte: u8, bytes: usize) {
        self.assert_inside(address, address + bytes as u64);
        // SAFETY: the bytes are this reservation's, and nothing of Rust's own refers to them.
        unsafe { std::ptr::write_bytes(address as *mut u8, byte, bytes) };
    }

    /// Returns the pages that lie wholly in these bytes to the system.
    pub(crate) fn give_back(&self, address: u64, bytes: usize) {
        let (first, last) = (address.next_multiple_of(4096), (address + bytes as u64) & !4095);
        if first < last {
            self.assert_inside(first, last);
            // SAFETY: the pages are this reservation's; they read as zeros from here on.
            unsafe { libc::madvise(first as *mut _, (last - first) as usize, libc::MADV_DONTNEED) };
        }
    }

    fn assert_inside(&self, start: u64, end: u64) {
        assert!(self.start <= start && start <= end && end <= self.end, "{start:#x}..{end:#x} is not device memory");
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is this reservation's own.
        unsafe { libc::munmap(self.start as *mut _, (self.end - self.start) as usize) };
    }
}
