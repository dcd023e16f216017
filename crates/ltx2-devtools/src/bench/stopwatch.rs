//! Timing of work on a device.

use std::time::Instant;

use candle_core::{Device, Result};

/// Clock that times a device's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The host's clock around the work.
    Host,
    /// Events on the device, before the first kernel and after the last; excludes the host's wait for the device.
    DeviceEvents,
}

/// A running measurement.
pub(super) enum Stopwatch {
    Host(Instant),
    #[cfg(feature = "cuda")]
    Device(events::Started),
}

impl Stopwatch {
    /// Waits until `device` is idle, then starts.
    pub(super) fn start(device: &Device) -> Result<Self> {
        device.synchronize()?;
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => Ok(Self::Device(events::start(device)?)),
            _ => Ok(Self::Host(Instant::now())),
        }
    }

    /// Waits for all submitted work and returns the seconds since the start.
    pub(super) fn stop(self) -> Result<f64> {
        match self {
            // Only CPUs are timed by the host; their work is complete when the call returns.
            Self::Host(start) => Ok(start.elapsed().as_secs_f64()),
            #[cfg(feature = "cuda")]
            Self::Device(started) => started.seconds(),
        }
    }

    /// Returns the clock that [`Stopwatch::start`] uses on `device`.
    pub(super) fn clock(device: &Device) -> Clock {
        if device.is_cuda() { Clock::DeviceEvents } else { Clock::Host }
    }
}

#[cfg(feature = "cuda")]
mod events {
    use std::sync::Arc;

    use candle_core::cuda_backend::WrapErr;
    use candle_core::cuda_backend::cudarc::driver::sys::CUevent_flags;
    use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaStream};
    use candle_core::{CudaDevice, Result};

    /// An event recorded on the stream that tensors are computed on.
    pub struct Started {
        stream: Arc<CudaStream>,
        event: CudaEvent,
    }

    pub(super) fn start(device: &CudaDevice) -> Result<Started> {
        let stream = device.cuda_stream();
        // cudarc's default flags disable timing.
        let event = stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).w()?;
        Ok(Started { stream, event })
    }

    impl Started {
        pub(super) fn seconds(self) -> Result<f64> {
            let end = self.stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).w()?;
            Ok(f64::from(self.event.elapsed_ms(&end).w()?) / 1e3)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn cpu_work_is_timed_by_the_host_clock() {
        let watch = Stopwatch::start(&Device::Cpu).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        assert!(watch.stop().unwrap() >= 5e-3);
        assert_eq!(Stopwatch::clock(&Device::Cpu), Clock::Host);
    }
}
