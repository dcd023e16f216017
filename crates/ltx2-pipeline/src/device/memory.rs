//! Memory of a device: size, peak use, and its release to the system.

use std::fmt;

use candle_core::Device;
use serde::Serialize;

/// Memory of a GPU, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DeviceMemory {
    /// Memory that the driver can allocate, without what the process's own pool holds.
    pub free: usize,
    /// Total memory of the GPU.
    pub total: usize,
}

impl DeviceMemory {
    /// Returns the current memory of `device`; `None` on a CPU, or if the driver does not report it.
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

/// A number of bytes, displayed in GiB.
pub(crate) struct Gib(pub usize);

impl fmt::Display for Gib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}", self.0 as f64 / f64::from(1 << 30))
    }
}

/// Returns unused memory of the pool to the system. On a CPU the allocator does so by itself.
pub(crate) fn release_memory(device: &Device) {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => {
            if let Err(error) = super::cuda::release_memory(device) {
                tracing::warn!(%error, "cannot release GPU memory");
            }
        }
        _ => {}
    }
}

/// Returns the bytes available for further tensors; `None` if the system does not report them.
pub(crate) fn available(device: &Device) -> Option<usize> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(cuda) => Some(DeviceMemory::of(device)?.free + super::cuda::pool_free(cuda).ok()?),
        _ => kilobytes(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:"),
    }
}

/// Ensures that the driver can allocate `bytes` in large blocks, if possible: the blocks that the pool holds may be too
/// small for them, so the pool is emptied if the driver has less.
pub(crate) fn reserve(device: &Device, bytes: usize) {
    if DeviceMemory::of(device).is_some_and(|memory| memory.free < bytes) {
        release_memory(device);
    }
}

/// Resets the peak of [`peak_memory`]. Without effect if the system does not support it.
pub fn reset_peak_memory(device: &Device) {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => {
            let _ = super::cuda::reset_peak(device);
        }
        // Writing 5 resets the peak resident set size (Linux, proc(5)).
        _ => drop(std::fs::write("/proc/self/clear_refs", "5")),
    }
}

/// Returns the peak memory since the last reset, bytes: of tensors on a GPU, of the process on a CPU. `None` if the
/// system does not report it.
pub fn peak_memory(device: &Device) -> Option<u64> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => super::cuda::peak(device).ok().flatten(),
        _ => Some(kilobytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")? as u64),
    }
}

/// Parses the line `name` of a `/proc` table; returns bytes.
fn kilobytes(table: &str, name: &str) -> Option<usize> {
    let line = table.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_tables_are_parsed() {
        assert_eq!(kilobytes("Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t 1 kB\n", "VmHWM:"), Some(2048 * 1024));
        assert_eq!(kilobytes("Name:\tx\n", "VmHWM:"), None);
        assert!(available(&Device::Cpu).unwrap() > 1 << 20);
    }

    #[test]
    fn memory_is_displayed_in_gib() {
        let memory = DeviceMemory { free: 3 << 29, total: 24 << 30 };
        assert_eq!(memory.to_string(), "1.5 of 24.0 GiB are free");
    }
}
