//! Whether the warps of a warpgroup do the same.

/// What tells a product from others: its instruction, and where its matrices are.
pub(super) type Call = (usize, [u64; 2]);

/// The products that a warpgroup's warps have begun since the last barrier.
#[derive(Debug, Default, Clone)]
pub(super) struct Roll {
    calls: Vec<Call>,
    /// By how many of them each warp has come.
    counts: [usize; 4],
}

impl Roll {
    /// One of the four warps begins a product.
    pub(super) fn call(&mut self, warp: usize, call: Call) -> Result<(), String> {
        let count = &mut self.counts[warp];
        match self.calls.get(*count) {
            None => self.calls.push(call),
            Some(first) if *first == call => {}
            Some(_) => return Err("the warps of a warpgroup begin different products".into()),
        }
        *count += 1;
        Ok(())
    }

    /// At a barrier, and at the end: all four must have come.
    pub(super) fn close(&mut self) -> Result<(), String> {
        if self.counts.iter().any(|count| *count != self.calls.len()) {
            return Err("some warps of a warpgroup begin products that others do not".into());
        }
        *self = Self::default();
        Ok(())
    }
}
