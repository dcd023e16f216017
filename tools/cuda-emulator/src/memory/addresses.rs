//! Address allocator with size classes.

use std::collections::HashMap;

/// Alignment of allocations, to which sizes are rounded up.
pub(crate) const ALIGNMENT: u64 = 512;

/// Allocates addresses. Sizes are rounded up to an eighth of a power of two, so that there are few classes and freed
/// addresses are reused by class. At least [`ALIGNMENT`] unused bytes follow each allocation.
#[derive(Debug)]
pub(crate) struct Addresses {
    next: u64,
    end: u64,
    freed: HashMap<u64, Vec<u64>>,
}

impl Addresses {
    pub(crate) fn new(start: u64, end: u64) -> Self {
        Self { next: start.next_multiple_of(ALIGNMENT), end, freed: HashMap::new() }
    }

    /// Allocates addresses for `bytes`, or returns `None` if the address space is exhausted.
    pub(crate) fn take(&mut self, bytes: u64) -> Option<u64> {
        let class = class(bytes)?;
        if let Some(address) = self.freed.get_mut(&class).and_then(Vec::pop) {
            return Some(address);
        }
        let address = self.next;
        let next = address.checked_add(class).filter(|next| *next <= self.end)?;
        self.next = next;
        Some(address)
    }

    /// Returns an address that [`Addresses::take`] allocated for `bytes`.
    pub(crate) fn release(&mut self, address: u64, bytes: u64) {
        if let Some(class) = class(bytes) {
            self.freed.entry(class).or_default().push(address);
        }
    }
}

fn class(bytes: u64) -> Option<u64> {
    let with_gap = bytes.checked_add(ALIGNMENT).filter(|bytes| *bytes <= 1 << 62)?;
    let step = (with_gap.next_power_of_two() / 16).max(ALIGNMENT);
    Some(with_gap.next_multiple_of(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_addresses_are_reused_within_their_class() {
        let mut addresses = Addresses::new(1 << 20, 1 << 30);
        let first = addresses.take(100_000).unwrap();
        let second = addresses.take(100_000).unwrap();
        assert!(second >= first + 100_000 + ALIGNMENT && second.is_multiple_of(ALIGNMENT));
        addresses.release(first, 100_000);
        assert_eq!(addresses.take(100_200), Some(first));
        assert_ne!(addresses.take(200_000), Some(first));
    }

    #[test]
    fn classes_waste_at_most_an_eighth() {
        for bytes in [1, 511, 512, 5000, 65_536, 100_001, (1 << 30) + 1] {
            let class = class(bytes).unwrap();
            assert!(class >= bytes + ALIGNMENT && class.is_multiple_of(ALIGNMENT));
            assert!(class <= (bytes + ALIGNMENT) * 9 / 8 + ALIGNMENT, "{bytes}: {class}");
        }
    }

    #[test]
    fn address_space_is_bounded() {
        let mut addresses = Addresses::new(0, 1 << 20);
        assert_eq!(addresses.take(1 << 20), None);
        assert_eq!(addresses.take(u64::MAX), None);
        assert!(addresses.take(1 << 19).is_some());
    }
}
