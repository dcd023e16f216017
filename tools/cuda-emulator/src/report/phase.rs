//! Counts of one phase: the time between two resets of the pool's high-water mark.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::gemm::GemmShape;
use crate::memory::Memory;

/// Launches of one kernel.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct KernelCount {
    pub(crate) launches: u64,
    pub(crate) threads: u64,
    /// Upper bound of the memory traffic if each byte is accessed once.
    pub(crate) bytes: u64,
    /// Time on the host.
    pub(crate) host_time: Duration,
}

/// Matrix products of one shape.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct GemmCount {
    pub(crate) calls: u64,
    pub(crate) host_time: Duration,
}

/// Kinds of copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopyKind {
    ToDevice,
    ToHost,
    OnDevice,
    Set,
}

impl CopyKind {
    pub(super) const ALL: [Self; 4] = [Self::ToDevice, Self::ToHost, Self::OnDevice, Self::Set];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ToDevice => "copy to the device",
            Self::ToHost => "copy to the host",
            Self::OnDevice => "copy on the device",
            Self::Set => "memset",
        }
    }
}

/// Copies of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CopyCount {
    pub(crate) calls: u64,
    pub(crate) bytes: u64,
}

/// Peak of memory use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Peak {
    /// Bytes in use, in the pool and outside.
    pub(crate) bytes: u64,
    /// Launches and products of the phase before the peak.
    pub(crate) after: u64,
    /// Name of the last launch or product before the peak.
    pub(crate) last: String,
    /// Number of allocations by size, sampled within one percent of the peak.
    pub(crate) sizes: BTreeMap<u64, u64>,
    /// Bytes in use when `sizes` was sampled.
    sampled: u64,
}

/// Counts of a phase.
#[derive(Debug, Clone, Default)]
pub(crate) struct PhaseCounts {
    pub(crate) kernels: HashMap<String, KernelCount>,
    pub(crate) products: HashMap<GemmShape, GemmCount>,
    pub(crate) copies: [CopyCount; 4],
    pub(crate) allocations: u64,
    /// Allocations that failed because the device was full.
    pub(crate) failed_allocations: u64,
    pub(crate) peak: Peak,
    /// Number of launches and products.
    pub(crate) operations: u64,
    /// Name of the last launch or product.
    pub(crate) last: String,
}

impl PhaseCounts {
    /// Updates the peak.
    pub(crate) fn update_peak(&mut self, memory: &Memory) {
        let now = memory.usage.in_use();
        let peak = &mut self.peak;
        if now <= peak.bytes {
            return;
        }
        (peak.bytes, peak.after) = (now, self.operations);
        peak.last.clone_from(&self.last);
        if now > peak.sampled + peak.sampled / 100 {
            peak.sampled = now;
            peak.sizes.clear();
            for (start, end) in &memory.ranges().0 {
                *peak.sizes.entry(end - start).or_default() += 1;
            }
        }
    }
}
