//! Handle tables.

use std::collections::HashMap;

use super::status::{CudaStatus, Result};

/// Objects by handle. Handles are never reused, so that a stale handle is detected.
#[derive(Debug)]
pub(crate) struct Handles<T> {
    next: usize,
    live: HashMap<usize, T>,
}

impl<T> Handles<T> {
    /// Creates a table. `kind` distinguishes the handles of different tables.
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
        self.live.get(&handle).ok_or(CudaStatus::InvalidHandle)
    }

    pub(crate) fn get_mut(&mut self, handle: usize) -> Result<&mut T> {
        self.live.get_mut(&handle).ok_or(CudaStatus::InvalidHandle)
    }

    pub(crate) fn remove(&mut self, handle: usize) -> Result<T> {
        self.live.remove(&handle).ok_or(CudaStatus::InvalidHandle)
    }

    /// Removes the objects for which `keep` returns false.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.live.retain(|_, value| keep(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_and_foreign_handles_are_rejected() {
        let (mut streams, mut events) = (Handles::new(1), Handles::new(2));
        let (stream, event) = (streams.insert('s'), events.insert('e'));
        assert_eq!(streams.get(stream), Ok(&'s'));
        assert_eq!(streams.get(event), Err(CudaStatus::InvalidHandle));
        assert_eq!(streams.remove(stream), Ok('s'));
        assert_eq!(streams.remove(stream), Err(CudaStatus::InvalidHandle));
        assert_ne!(streams.insert('t'), stream);
    }
}
