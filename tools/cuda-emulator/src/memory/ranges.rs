//! Allocated address ranges.

/// Allocations as sorted (start, end) pairs, with exclusive ends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ranges(pub(crate) Vec<(u64, u64)>);

impl Ranges {
    /// Returns the allocation that contains `address`.
    pub(crate) fn find(&self, address: u64) -> Option<(u64, u64)> {
        let after = self.0.partition_point(|(start, _)| *start <= address);
        let range = *self.0.get(after.checked_sub(1)?)?;
        (address < range.1).then_some(range)
    }

    /// Whether `bytes` bytes at `address` lie within one allocation. An empty range is valid at any address.
    pub(crate) fn contains(&self, address: u64, bytes: u64) -> bool {
        let inside = |(_, end)| address.checked_add(bytes).is_some_and(|last| last <= end);
        bytes == 0 || self.find(address).is_some_and(inside)
    }

    /// Inserts an allocation that overlaps no other.
    pub(super) fn insert(&mut self, start: u64, end: u64) {
        let at = self.0.partition_point(|range| range.0 < start);
        self.0.insert(at, (start, end));
    }

    /// Removes the allocation that starts at `start`, and returns its end.
    pub(super) fn remove(&mut self, start: u64) -> Option<u64> {
        let at = self.0.binary_search_by_key(&start, |range| range.0).ok()?;
        Some(self.0.remove(at).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_within_their_allocation_only() {
        let mut ranges = Ranges::default();
        for start in [3000, 1000, 2000] {
            ranges.insert(start, start + 500);
        }
        assert_eq!(ranges.find(1000), Some((1000, 1500)));
        assert_eq!(ranges.find(1499), Some((1000, 1500)));
        assert_eq!(ranges.find(3499), Some((3000, 3500)));
        assert_eq!([999, 1500, 1999, 3500].map(|address| ranges.find(address)), [None; 4]);
        assert!(ranges.contains(2100, 400) && !ranges.contains(2100, 401) && !ranges.contains(2100, u64::MAX));
        assert!(ranges.contains(0, 0));
        assert_eq!((ranges.remove(2000), ranges.remove(2000)), (Some(2500), None));
        assert_eq!(ranges.find(2000), None);
    }
}
