//! The device's memory: how much there is, how much was used, and giving it back.

use std::fmt;

use candle_core::Device;
use serde::Serialize;

/// Memory of a GPU, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DeviceMemory {
    /// What the driver could hand out. Memory that our own pool keeps is not in it.
    pub free: usize,
    /// What the card has.
    pub total: usize,
}

impl DeviceMemory {
    /// Of `device` now; `None` on a CPU, and where the driver does not tell.
    pub fn of(device: &Device) -> Option<Self> {
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => super::cuda::memory(device).ok().map(|(free, total)| Self { free, total }),
            _ => None,
        }
    }
}

impl fmt::Display for DeviceMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} GiB are free", Gib(self.free), Gib(self.total))
    }
}

/// Bytes, shown in GiB.
pub(crate) struct Gib(pub usize);

impl fmt::Display for Gib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}", self.0 as f64 / f64::from(1 << 30))
    }
}

/// Gives the memory that no tensor holds back to the system; on a CPU that is the allocator's business.
pub(crate) fn give_back(device: &Device) {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => {
            if let Err(error) = super::cuda::give_back(device) {
                tracing::warn!(%error, "the GPU's memory could not be given back: {error}");
            }
        }
        _ => {}
    }
}

/// Bytes that further tensors could have; `None` where the system does not tell.
pub(crate) fn available(device: &Device) -> Option<usize> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(cuda) => Some(DeviceMemory::of(device)?.free + super::cuda::kept(cuda).ok()?),
        _ => kilobytes(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:"),
    }
}

/// Called before `bytes` in large pieces are read into the device's memory: what the pool keeps may lie in pieces that are
/// too small for them.
pub(crate) fn make_room(device: &Device, bytes: usize) {
    if DeviceMemory::of(device).is_some_and(|memory| memory.free < bytes) {
        give_back(device);
    }
}

/// Forgets the peak so far. Where the system cannot, the next peak includes what came before.
pub fn reset_peak_memory(device: &Device) {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => {
            let _ = super::cuda::reset_peak(device);
        }
        // Writing 5 there resets the peak of the resident memory (Linux, proc(5)).
        _ => drop(std::fs::write("/proc/self/clear_refs", "5")),
    }
}

/// Bytes at the highest since the last reset: of tensors on a GPU, of the process on a CPU. `None` where the system does
/// not tell.
pub fn peak_memory(device: &Device) -> Option<u64> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => super::cuda::peak(device).ok().flatten(),
        _ => Some(kilobytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")? as u64),
    }
}

/// The bytes that a table of the system's has under `name`.
fn kilobytes(table: &str, name: &str) -> Option<usize> {
    let line = table.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_and_can_be_forgotten() {
        assert_eq!(kilobytes("Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t 1 kB\n", "VmHWM:"), Some(2048 * 1024));
        assert_eq!(kilobytes("Name:\tx\n", "VmHWM:"), None);
        assert!(available(&Device::Cpu).unwrap() > 1 << 20);
    }

    #[test]
    fn memory_is_told_in_gib() {
        let memory = DeviceMemory { free: 3 << 29, total: 24 << 30 };
        assert_eq!(memory.to_string(), "1.5 of 24.0 GiB are free");
    }
}
