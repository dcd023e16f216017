//! The one device: what was made on it, and whether it still answers.

use std::time::{Duration, Instant};

use super::handles::Handles;
use super::modules::{Function, LoadedModule};
use super::pinned::Pinned;
use super::status::{Result, Status};
use crate::cublas::Blas;
use crate::curand::Generator;
use crate::memory;
use crate::report::Report;
use crate::settings::{Mode, settings};

/// A recorded moment.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) timed: bool,
    pub(crate) at: Option<Instant>,
    /// Copies from page-locked memory that were begun before it.
    pub(crate) copies: u64,
}

/// All that calls share, behind one lock. Work on any stream is done when its call returns, but for copies from page-locked
/// memory.
pub(crate) struct Device {
    pub(crate) mode: Mode,
    /// Why nothing is answered any more.
    fault: Option<String>,
    /// Users of the primary context.
    pub(crate) retained: u32,
    pub(crate) streams: Handles<()>,
    pub(crate) events: Handles<Event>,
    pub(crate) modules: Handles<LoadedModule>,
    pub(crate) functions: Handles<Function>,
    pub(crate) blas: Handles<Blas>,
    pub(crate) generators: Handles<Generator>,
    pub(crate) pinned: Pinned,
    pub(crate) report: Report,
    /// Kernels that were launched so far.
    pub(crate) launches: u64,
    reported: Instant,
}

/// How old the report may be while the device is in use.
const REPORT_EVERY: Duration = Duration::from_millis(50);

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
            report: Report::default(),
            launches: 0,
            reported: Instant::now(),
        }
    }

    /// Whether someone has the primary context.
    pub(crate) fn has_context(&self) -> bool {
        self.retained > 0
    }

    /// An error for ever once there was a fault.
    pub(crate) fn answers(&self) -> Result {
        if self.fault.is_some() { Err(Status::IllegalAddress) } else { Ok(()) }
    }

    /// Loses the device, as a real one is lost by a wrong access.
    pub(crate) fn fail(&mut self, why: String) -> Status {
        eprintln!("emulator: the device is lost: {why}");
        self.fault.get_or_insert(why);
        Status::IllegalAddress
    }

    /// Whether a stream's handle may be used: the two default streams have fixed ones.
    pub(crate) fn stream(&self, stream: usize) -> Result {
        if stream <= 2 { Ok(()) } else { self.streams.get(stream).copied() }
    }

    /// Bytes in one allocation, or the device is lost.
    pub(crate) fn check(&mut self, what: &str, address: u64, bytes: usize) -> Result {
        if memory::memory().ranges().holds(address, bytes as u64) {
            return Ok(());
        }
        Err(self.fail(format!("{what} of {bytes} bytes at {address:#x}, {}", whereabouts(address))))
    }

    /// Writes the report if the last one is old: a process may end without a word.
    pub(crate) fn report_in_time(&mut self) {
        if settings().report.is_some() && self.reported.elapsed() > REPORT_EVERY {
            self.write_report();
            self.reported = Instant::now();
        }
    }

    /// Writes the report where it is wanted, if it is.
    pub(crate) fn write_report(&self) {
        let Some(path) = &settings().report else { return };
        if let Err(error) = self.report.write(path, self.fault.as_deref()) {
            eprintln!("emulator: {}: {error}", path.display());
        }
    }
}

/// An address beside the allocation before it.
pub(crate) fn whereabouts(address: u64) -> String {
    let ranges = memory::ranges();
    match ranges.0[..ranges.0.partition_point(|range| range.0 <= address)].last() {
        Some((start, end)) => {
            format!("{} bytes into an allocation of {} bytes at {start:#x}", address - start, end - start)
        }
        None => "where nothing is allocated".into(),
    }
}
