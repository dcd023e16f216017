//! Accounting of device memory.

/// Granularity of the pool's reservation.
const GROWTH: u64 = 2 << 20;

/// Kind of an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Allocated from the memory pool of a stream.
    Pool,
    /// A module's globals, or allocated outside the pool.
    Driver,
}

/// Bytes in use and reserved. Fragmentation within the pool is not modelled.
#[derive(Debug)]
pub(crate) struct Usage {
    total: u64,
    driver: u64,
    /// Bytes in use by the pool's allocations.
    pub(crate) used: u64,
    /// Maximum of `used` since the last reset.
    pub(crate) used_high: u64,
    /// Bytes that the pool holds.
    pub(crate) reserved: u64,
    /// Maximum of `reserved` since the last reset.
    pub(crate) reserved_high: u64,
    /// Unused bytes that the pool keeps on synchronisation.
    pub(crate) release_threshold: u64,
}

impl Usage {
    pub(crate) fn new(total: u64) -> Self {
        Self { total, driver: 0, used: 0, used_high: 0, reserved: 0, reserved_high: 0, release_threshold: 0 }
    }

    /// Counts an allocation, or returns `None` if the device is full.
    pub(crate) fn add(&mut self, bytes: u64, owner: Owner) -> Option<()> {
        if self.in_use().checked_add(bytes)? > self.total {
            return None;
        }
        match owner {
            Owner::Pool => self.used += bytes,
            Owner::Driver => {
                self.driver += bytes;
                // The pool releases unused memory to make room.
                self.reserved = self.reserved.min(self.total - self.driver);
            }
        }
        self.used_high = self.used_high.max(self.used);
        self.reserve(self.used);
        Some(())
    }

    pub(crate) fn subtract(&mut self, bytes: u64, owner: Owner) {
        match owner {
            Owner::Pool => self.used -= bytes,
            Owner::Driver => self.driver -= bytes,
        }
    }

    /// Releases the pool's unused memory beyond `bytes`.
    pub(crate) fn trim(&mut self, bytes: u64) {
        self.reserved = self.reserved.min(bytes.max(self.used)).next_multiple_of(GROWTH).min(self.total - self.driver);
    }

    /// Releases the pool's unused memory beyond its threshold, as a synchronisation does.
    pub(crate) fn synchronise(&mut self) {
        self.trim(self.release_threshold);
    }

    /// Bytes in use by all allocations.
    pub(crate) fn in_use(&self) -> u64 {
        self.driver + self.used
    }

    /// Bytes that are neither in use nor reserved.
    pub(crate) fn free(&self) -> u64 {
        self.total - self.driver - self.reserved
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    fn reserve(&mut self, bytes: u64) {
        let wanted = bytes.next_multiple_of(GROWTH).min(self.total - self.driver);
        self.reserved = self.reserved.max(wanted);
        self.reserved_high = self.reserved_high.max(self.reserved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn pool_keeps_memory_up_to_its_threshold() {
        let mut usage = Usage::new(100 * MIB);
        usage.add(31 * MIB, Owner::Pool).unwrap();
        assert_eq!((usage.reserved, usage.free()), (32 * MIB, 68 * MIB));
        usage.subtract(31 * MIB, Owner::Pool);
        usage.release_threshold = u64::MAX;
        usage.synchronise();
        assert_eq!((usage.used, usage.reserved), (0, 32 * MIB));
        usage.release_threshold = 10 * MIB;
        usage.synchronise();
        assert_eq!(usage.reserved, 10 * MIB);
        usage.trim(0);
        assert_eq!((usage.reserved, usage.used_high, usage.reserved_high), (0, 31 * MIB, 32 * MIB));
    }

    #[test]
    fn allocation_fails_on_a_full_device() {
        let mut usage = Usage::new(10 * MIB);
        usage.add(6 * MIB, Owner::Pool).unwrap();
        usage.add(3 * MIB, Owner::Driver).unwrap();
        assert!(usage.add(2 * MIB, Owner::Pool).is_none());
        assert!(usage.add(u64::MAX, Owner::Driver).is_none());
        usage.add(MIB, Owner::Pool).unwrap();
        assert_eq!((usage.in_use(), usage.free()), (10 * MIB, 0));
    }
}
