//! State of the emulated device.

use std::time::{Duration, Instant};

use super::handles::Handles;
use super::objects::{BlasHandle, Event, Function, LoadedModule};
use super::pinned::Pinned;
use super::status::{CudaStatus, Result};
use crate::memory;
use crate::random::RandomGenerator;
use crate::report::UsageReport;
use crate::settings::{Mode, settings};

/// State shared by all calls, behind one lock. Work on a stream is complete when its call returns, except for copies
/// from page-locked memory.
pub(crate) struct Device {
    pub(crate) mode: Mode,
    /// Cause of the device's loss, if it is lost.
    fault: Option<String>,
    /// Reference count of the primary context.
    pub(crate) retained: u32,
    pub(crate) streams: Handles<()>,
    pub(crate) events: Handles<Event>,
    pub(crate) modules: Handles<LoadedModule>,
    pub(crate) functions: Handles<Function>,
    pub(crate) blas: Handles<BlasHandle>,
    pub(crate) generators: Handles<RandomGenerator>,
    pub(crate) pinned: Pinned,
    pub(crate) report: UsageReport,
    /// Number of kernel launches so far.
    pub(crate) launches: u64,
    last_report: Instant,
}

/// Maximum age of the report while the device is in use.
const REPORT_INTERVAL: Duration = Duration::from_millis(50);

impl Device {
    pub(crate) fn new(mode: Mode) -> Self {
        Self {
            mode,
            fault: None,
            retained: 0,
            streams: Handles::new(1),
            events: Handles::new(2),
            modules: Handles::new(3),
            functions: Handles::new(4),
            blas: Handles::new(5),
            generators: Handles::new(6),
            pinned: Pinned::default(),
            report: UsageReport::default(),
            launches: 0,
            last_report: Instant::now(),
        }
    }

    /// Whether the primary context is retained.
    pub(crate) fn has_context(&self) -> bool {
        self.retained > 0
    }

    /// Fails if the device is lost.
    pub(crate) fn ensure_alive(&self) -> Result {
        if self.fault.is_some() { Err(CudaStatus::IllegalAddress) } else { Ok(()) }
    }

    /// Marks the device as lost, as CUDA does after an illegal access (a sticky error).
    pub(crate) fn fail(&mut self, reason: String) -> CudaStatus {
        eprintln!("emulator: device lost: {reason}");
        self.fault.get_or_insert(reason);
        CudaStatus::IllegalAddress
    }

    /// Checks a stream handle. The two default streams have fixed handles.
    pub(crate) fn stream(&self, stream: usize) -> Result {
        if stream <= 2 { Ok(()) } else { self.streams.get(stream).copied() }
    }

    /// Checks that a range lies within one allocation. Otherwise the device is lost.
    pub(crate) fn check(&mut self, what: &str, address: u64, bytes: usize) -> Result {
        if memory::memory().ranges().contains(address, bytes as u64) {
            return Ok(());
        }
        Err(self.fail(format!("{what} of {bytes} bytes at {address:#x}, {}", describe_address(address))))
    }

    /// Writes the report if the last one is older than [`REPORT_INTERVAL`], since a process may be killed at any time.
    pub(crate) fn refresh_report(&mut self) {
        if settings().report.is_some() && self.last_report.elapsed() > REPORT_INTERVAL {
            self.write_report();
            self.last_report = Instant::now();
        }
    }

    /// Writes the report if a path is configured.
    pub(crate) fn write_report(&self) {
        let Some(path) = &settings().report else { return };
        if let Err(error) = self.report.write(path, self.fault.as_deref()) {
            eprintln!("emulator: cannot write the report to {}: {error}", path.display());
        }
    }
}

/// Describes an address relative to the allocation at or before it.
pub(crate) fn describe_address(address: u64) -> String {
    let ranges = memory::ranges();
    match ranges.0[..ranges.0.partition_point(|range| range.0 <= address)].last() {
        Some((start, end)) => {
            format!("{} bytes into an allocation of {} bytes at {start:#x}", address - start, end - start)
        }
        None => "before every allocation".into(),
    }
}
