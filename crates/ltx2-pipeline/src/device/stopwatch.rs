//! How long work on a device takes.

use std::time::Instant;

use candle_core::{Device, Result};

/// Which clock times a device's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The host's, around all of it.
    Host,
    /// The device's own, from an event before the first kernel to one after the last: without the host's wait for the
    /// device, which is part of no run.
    DeviceEvents,
}

/// A running measurement.
pub(crate) enum Stopwatch {
    Host(Instant),
    #[cfg(feature = "cuda")]
    Device(events::Started),
}

impl Stopwatch {
    /// Begins to measure, once `device` is idle.
    pub(crate) fn start(device: &Device) -> Result<Self> {
        device.synchronize()?;
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => Ok(Self::Device(events::start(device)?)),
            _ => Ok(Self::Host(Instant::now())),
        }
    }

    /// Seconds from the start until all that was asked of the device is done.
    pub(crate) fn stop(self) -> Result<f64> {
        match self {
            // Only a CPU is timed so, which is done when the call is.
            Self::Host(start) => Ok(start.elapsed().as_secs_f64()),
            #[cfg(feature = "cuda")]
            Self::Device(started) => started.seconds(),
        }
    }

    /// The clock that [`Stopwatch::start`] takes.
    pub(crate) fn clock(device: &Device) -> Clock {
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

    /// An event on the stream that tensors are computed on.
    pub struct Started {
        stream: Arc<CudaStream>,
        event: CudaEvent,
    }

    pub(super) fn start(device: &CudaDevice) -> Result<Started> {
        let stream = device.cuda_stream();
        // cudarc's default is an event without a time.
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
    fn a_cpu_is_timed_by_the_host() {
        let watch = Stopwatch::start(&Device::Cpu).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        assert!(watch.stop().unwrap() >= 5e-3);
        assert_eq!(Stopwatch::clock(&Device::Cpu), Clock::Host);
    }
}
