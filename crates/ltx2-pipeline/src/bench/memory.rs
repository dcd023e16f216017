//! Peak memory of the device that computes.

use candle_core::Device;

/// Forgets the peak so far. Where the system cannot, the next peak includes what came before.
pub(super) fn reset_peak(device: &Device) {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => cuda::reset_peak(device),
        // Writing 5 there resets the peak of the resident memory (Linux, proc(5)).
        _ => drop(std::fs::write("/proc/self/clear_refs", "5")),
    }
}

/// Bytes at the highest since the last reset; `None` where the system does not tell.
pub(super) fn peak(device: &Device) -> Option<u64> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => cuda::peak(device),
        _ => resident_peak(&std::fs::read_to_string("/proc/self/status").ok()?),
    }
}

fn resident_peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(feature = "cuda")]
mod cuda {
    use candle_core::CudaDevice;
    use candle_core::cuda_backend::cudarc::driver::{result, sys};

    fn pool(device: &CudaDevice) -> Option<sys::CUmemoryPool> {
        let ordinal = device.cuda_stream().context().cu_device();
        // SAFETY: the device is that of a live context.
        unsafe { result::device::get_default_mem_pool(ordinal) }.ok()
    }

    pub(super) fn reset_peak(device: &CudaDevice) {
        let Some(pool) = pool(device) else { return };
        let mut zero = 0u64;
        let attribute = sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
        // SAFETY: the attribute is a 64-bit number, and may be set to 0 alone.
        drop(unsafe { sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut zero).cast()) });
    }

    pub(super) fn peak(device: &CudaDevice) -> Option<u64> {
        let mut bytes = 0u64;
        let attribute = sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
        // SAFETY: the attribute is a 64-bit number.
        let status = unsafe { sys::cuMemPoolGetAttribute(pool(device)?, attribute, (&raw mut bytes).cast()) };
        (status == sys::CUresult::CUDA_SUCCESS).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_and_can_be_forgotten() {
        assert_eq!(resident_peak("Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t 1 kB\n"), Some(2048 * 1024));
        assert_eq!(resident_peak("Name:\tx\n"), None);
    }
}
