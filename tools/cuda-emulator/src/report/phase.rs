//! What is counted between two resets of the pool's highest use.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::product::Shape;
use crate::memory::Memory;

/// A kernel's launches.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct KernelCount {
    pub(crate) launches: u64,
    pub(crate) threads: u64,
    /// An upper bound of what is read and written, if each is once.
    pub(crate) bytes: u64,
    /// What running it here took.
    pub(crate) emulated: Duration,
}

/// Products of one shape.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ProductCount {
    pub(crate) calls: u64,
    pub(crate) emulated: Duration,
}

/// Copies of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CopyCount {
    pub(crate) calls: u64,
    pub(crate) bytes: u64,
}

/// A moment of highest use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Peak {
    /// In use, of the pool and outside of it.
    pub(crate) bytes: u64,
    /// Launches and products of the phase before it.
    pub(crate) after: u64,
    /// The last of them.
    pub(crate) last: String,
    /// How many allocations there were of each size, at a moment within one percent of it.
    pub(crate) sizes: BTreeMap<u64, u64>,
    /// In use when `sizes` were taken.
    noted: u64,
}

/// A phase's counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Phase {
    pub(crate) kernels: HashMap<String, KernelCount>,
    pub(crate) products: HashMap<Shape, ProductCount>,
    pub(crate) copies: [CopyCount; 4],
    pub(crate) allocations: u64,
    /// Those that the card had no room for.
    pub(crate) refused: u64,
    pub(crate) peak: Peak,
    /// Launches and products.
    pub(crate) work: u64,
    /// The last of them.
    pub(crate) last: String,
}

impl Phase {
    /// Notes what is in use, if that is the most so far.
    pub(crate) fn note_use(&mut self, memory: &Memory) {
        let now = memory.usage.in_use();
        let peak = &mut self.peak;
        if now <= peak.bytes {
            return;
        }
        (peak.bytes, peak.after) = (now, self.work);
        peak.last.clone_from(&self.last);
        if now > peak.noted + peak.noted / 100 {
            peak.noted = now;
            peak.sizes.clear();
            for (start, end) in &memory.ranges().0 {
                *peak.sizes.entry(end - start).or_default() += 1;
            }
        }
    }
}
