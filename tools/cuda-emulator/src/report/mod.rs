//! What the program asked of the device: launches, products, copies, and memory at its highest.

mod phase;
mod product;
mod row;
mod table;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::memory::Memory;
use phase::Phase;
pub(crate) use product::{Number, Op, Shape};

/// What no H200 reads and writes more of in a second.
const BYTES_A_SECOND: f64 = 4.3e12;

/// Phases that are kept apart; what comes after them is counted to the last.
const PHASES: usize = 64;

/// Kinds of copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copy {
    ToDevice,
    ToHost,
    OnDevice,
    Set,
}

impl Copy {
    const ALL: [Self; 4] = [Self::ToDevice, Self::ToHost, Self::OnDevice, Self::Set];

    fn name(self) -> &'static str {
        match self {
            Self::ToDevice => "copy to the device",
            Self::ToHost => "copy to the host",
            Self::OnDevice => "copy on the device",
            Self::Set => "memset",
        }
    }
}

/// All counts, phase by phase. There is always one.
#[derive(Debug)]
pub(crate) struct Report {
    phases: Vec<Phase>,
    /// Addresses that were freed without being allocated.
    pub(crate) wrong_frees: u64,
}

impl Default for Report {
    fn default() -> Self {
        Self { phases: vec![Phase::default()], wrong_frees: 0 }
    }
}

impl Report {
    /// A kernel was launched, with at most so many bytes to read and write.
    pub(crate) fn launched(&mut self, name: &str, threads: u64, bytes: u64) {
        let phase = self.phase();
        if !phase.kernels.contains_key(name) {
            phase.kernels.insert(name.to_owned(), Default::default());
        }
        if let Some(count) = phase.kernels.get_mut(name) {
            count.launches += 1;
            count.threads += threads;
            count.bytes += bytes;
        }
        phase.work += 1;
        phase.last.clear();
        phase.last.push_str(name);
    }

    /// How long a launch took here.
    pub(crate) fn emulated(&mut self, name: &str, time: Duration) {
        if let Some(count) = self.phase().kernels.get_mut(name) {
            count.emulated += time;
        }
    }

    /// Products were computed, or only asked for.
    pub(crate) fn multiplied(&mut self, shape: &Shape, time: Duration) {
        let phase = self.phase();
        let count = phase.products.entry(shape.clone()).or_default();
        count.calls += 1;
        count.emulated += time;
        phase.work += 1;
        phase.last = shape.to_string();
    }

    /// Bytes were copied or set.
    pub(crate) fn copied(&mut self, copy: Copy, bytes: usize) {
        let count = &mut self.phase().copies[copy as usize];
        count.calls += 1;
        count.bytes += bytes as u64;
    }

    /// An allocation was asked for; `memory` is as it is afterwards.
    pub(crate) fn allocated(&mut self, fits: bool, memory: &Memory) {
        let phase = self.phase();
        phase.allocations += 1;
        phase.refused += u64::from(!fits);
        phase.note_use(memory);
    }

    /// Counts anew from here on.
    pub(crate) fn begin_phase(&mut self, memory: &Memory) {
        if self.phases.len() < PHASES && self.phase().allocations > 0 {
            self.phases.push(Phase::default());
            self.phase().note_use(memory);
        }
    }

    /// Writes a table to `path`, and all of it as JSON to a file of that name with `.json` behind it.
    pub(crate) fn write(&self, path: &Path, fault: Option<&str>) -> std::io::Result<()> {
        replace(path, &table::text(self, fault).map_err(std::io::Error::other)?)?;
        let mut beside = path.as_os_str().to_owned();
        beside.push(".json");
        replace(Path::new(&beside), &self.json(fault).to_string())
    }

    /// All of it, beside why the device was lost if it was.
    pub(crate) fn json(&self, fault: Option<&str>) -> Value {
        let phases: Vec<Value> = self.phases.iter().map(phase_json).collect();
        json!({ "fault": fault, "wrong_frees": self.wrong_frees, "phases": phases })
    }

    fn phase(&mut self) -> &mut Phase {
        let last = self.phases.len() - 1;
        &mut self.phases[last]
    }
}

/// Writes a file whole, or leaves the one before.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, text)?;
    std::fs::rename(partial, path)
}

fn phase_json(phase: &Phase) -> Value {
    let copies = Copy::ALL.map(|copy| {
        let count = phase.copies[copy as usize];
        json!({ "name": copy.name(), "calls": count.calls, "bytes": count.bytes })
    });
    let sizes: Vec<[u64; 2]> = phase.peak.sizes.iter().map(|(bytes, count)| [*bytes, *count]).collect();
    json!({
        "allocations": phase.allocations,
        "refused": phase.refused,
        "copies": copies,
        "rows": row::rows(phase),
        "peak": { "bytes": phase.peak.bytes, "after": phase.peak.after, "last": phase.peak.last, "sizes": sizes },
    })
}

#[cfg(test)]
mod tests;
