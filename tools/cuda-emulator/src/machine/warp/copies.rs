//! Pending asynchronous copies.

use std::collections::VecDeque;

/// A pending asynchronous copy to shared memory.
pub(super) struct AsyncCopy {
    pub(super) lane: usize,
    pub(super) to: u64,
    pub(super) from: u64,
    pub(super) bytes: usize,
    pub(super) present: usize,
}

/// Asynchronous copies: those not yet committed, and committed groups.
#[derive(Default)]
pub(super) struct AsyncCopies {
    pub(super) open: Vec<AsyncCopy>,
    pub(super) groups: VecDeque<Vec<AsyncCopy>>,
}
