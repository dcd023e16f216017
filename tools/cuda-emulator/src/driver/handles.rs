//! Handles: numbers that stand for what the driver keeps.

use std::collections::HashMap;

use super::status::{Result, Status};

/// Things by handle. A handle is never given twice, so that one that was freed is noticed.
#[derive(Debug)]
pub(crate) struct Handles<T> {
    next: usize,
    live: HashMap<usize, T>,
}

impl<T> Handles<T> {
    /// `kind` tells handles of different things apart.
    pub(crate) fn new(kind: u8) -> Self {
        Self { next: (usize::from(kind) << 40) + 0x1000, live: HashMap::new() }
    }

    pub(crate) fn insert(&mut self, value: T) -> usize {
        let handle = self.next;
        self.next += 0x10;
        self.live.insert(handle, value);
        handle
    }

    pub(crate) fn get(&self, handle: usize) -> Result<&T> {
        self.live.get(&handle).ok_or(Status::InvalidHandle)
    }

    pub(crate) fn get_mut(&mut self, handle: usize) -> Result<&mut T> {
        self.live.get_mut(&handle).ok_or(Status::InvalidHandle)
    }

    pub(crate) fn remove(&mut self, handle: usize) -> Result<T> {
        self.live.remove(&handle).ok_or(Status::InvalidHandle)
    }

    /// Drops what `keep` is not true of.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.live.retain(|_, value| keep(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_and_foreign_handles_are_noticed() {
        let (mut streams, mut events) = (Handles::new(1), Handles::new(2));
        let (stream, event) = (streams.insert('s'), events.insert('e'));
        assert_eq!(streams.get(stream), Ok(&'s'));
        assert_eq!(streams.get(event), Err(Status::InvalidHandle));
        assert_eq!(streams.remove(stream), Ok('s'));
        assert_eq!(streams.remove(stream), Err(Status::InvalidHandle));
        assert_ne!(streams.insert('t'), stream);
    }
}
