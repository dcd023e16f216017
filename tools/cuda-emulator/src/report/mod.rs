//! Counts of launches, matrix products and copies, and peak memory, as a text and a JSON file.

mod gemm;
mod phase;
mod row;
mod table;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::memory::Memory;
pub(crate) use gemm::{ElementType, GemmShape, Op};
pub(crate) use phase::CopyKind;
use phase::PhaseCounts;

/// Maximum number of phases. Later phases are merged into the last one.
const MAX_PHASES: usize = 64;

/// Counts of all phases. There is at least one phase.
#[derive(Debug)]
pub(crate) struct UsageReport {
    phases: Vec<PhaseCounts>,
    /// Number of frees of addresses that were not allocated.
    pub(crate) invalid_frees: u64,
}

impl Default for UsageReport {
    fn default() -> Self {
        Self { phases: vec![PhaseCounts::default()], invalid_frees: 0 }
    }
}

impl UsageReport {
    /// Counts a launch, whose memory traffic is at most `bytes`.
    pub(crate) fn record_launch(&mut self, name: &str, threads: u64, bytes: u64) {
        let phase = self.phase();
        if !phase.kernels.contains_key(name) {
            phase.kernels.insert(name.to_owned(), Default::default());
        }
        if let Some(count) = phase.kernels.get_mut(name) {
            count.launches += 1;
            count.threads += threads;
            count.bytes += bytes;
        }
        phase.operations += 1;
        phase.last.clear();
        phase.last.push_str(name);
    }

    /// Adds the time that a launch took on the host.
    pub(crate) fn record_launch_time(&mut self, name: &str, time: Duration) {
        if let Some(count) = self.phase().kernels.get_mut(name) {
            count.host_time += time;
        }
    }

    /// Counts a matrix product; `time` is zero in counting mode.
    pub(crate) fn record_product(&mut self, shape: &GemmShape, time: Duration) {
        let phase = self.phase();
        let count = phase.products.entry(shape.clone()).or_default();
        count.calls += 1;
        count.host_time += time;
        phase.operations += 1;
        phase.last = shape.to_string();
    }

    /// Counts a copy or a memset.
    pub(crate) fn record_copy(&mut self, copy: CopyKind, bytes: usize) {
        let count = &mut self.phase().copies[copy as usize];
        count.calls += 1;
        count.bytes += bytes as u64;
    }

    /// Counts an allocation. `memory` is the state after it.
    pub(crate) fn record_allocation(&mut self, fits: bool, memory: &Memory) {
        let phase = self.phase();
        phase.allocations += 1;
        phase.failed_allocations += u64::from(!fits);
        phase.update_peak(memory);
    }

    /// Starts a new phase, unless nothing was allocated in the current one.
    pub(crate) fn begin_phase(&mut self, memory: &Memory) {
        if self.phases.len() < MAX_PHASES && self.phase().allocations > 0 {
            self.phases.push(PhaseCounts::default());
            self.phase().update_peak(memory);
        }
    }

    /// Writes the table to `path` and all counts as JSON to `path` with `.json` appended.
    pub(crate) fn write(&self, path: &Path, fault: Option<&str>) -> std::io::Result<()> {
        write_atomically(path, &table::text(&self.phases, self.invalid_frees, fault).map_err(std::io::Error::other)?)?;
        let mut json_path = path.as_os_str().to_owned();
        json_path.push(".json");
        write_atomically(Path::new(&json_path), &self.json(fault).to_string())
    }

    /// Returns all counts, and the cause if the device was lost.
    pub(crate) fn json(&self, fault: Option<&str>) -> Value {
        let phases: Vec<Value> = self.phases.iter().map(phase_json).collect();
        json!({ "fault": fault, "wrong_frees": self.invalid_frees, "phases": phases })
    }

    fn phase(&mut self) -> &mut PhaseCounts {
        let last = self.phases.len() - 1;
        &mut self.phases[last]
    }
}

/// Replaces a file atomically.
fn write_atomically(path: &Path, text: &str) -> std::io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, text)?;
    std::fs::rename(partial, path)
}

fn phase_json(phase: &PhaseCounts) -> Value {
    let copies = CopyKind::ALL.map(|copy| {
        let count = phase.copies[copy as usize];
        json!({ "name": copy.name(), "calls": count.calls, "bytes": count.bytes })
    });
    let sizes: Vec<[u64; 2]> = phase.peak.sizes.iter().map(|(bytes, count)| [*bytes, *count]).collect();
    json!({
        "allocations": phase.allocations,
        "refused": phase.failed_allocations,
        "copies": copies,
        "rows": row::rows(phase),
        "peak": { "bytes": phase.peak.bytes, "after": phase.peak.after, "last": phase.peak.last, "sizes": sizes },
    })
}

#[cfg(test)]
mod tests;
