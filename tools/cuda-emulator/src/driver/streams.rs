//! Streams. Work is complete when its call returns, so a stream has no state.

use std::ffi::{c_int, c_uint};

use super::call::{Out, driver};
use super::status::CudaStatus;
use crate::memory;

driver! {
    /// Creates a stream.
    fn cuStreamCreate(stream: Out<usize>, flags: c_uint) -> Context |device| {
        if flags > 1 {
            return Err(CudaStatus::InvalidValue);
        }
        let handle = device.streams.insert(());
        stream.write(handle)
    }

    /// Creates a stream. The priority is ignored.
    fn cuStreamCreateWithPriority(stream: Out<usize>, flags: c_uint, _priority: c_int) -> Context |device| {
        if flags > 1 {
            return Err(CudaStatus::InvalidValue);
        }
        let handle = device.streams.insert(());
        stream.write(handle)
    }

    /// Destroys a stream.
    fn cuStreamDestroy_v2(stream: usize) -> Context |device| { device.streams.remove(stream) }

    /// Waits for a stream, which is always idle.
    fn cuStreamSynchronize(stream: usize) -> Context |device| {
        device.stream(stream)?;
        memory::memory().usage.synchronise();
        Ok(())
    }

    /// Makes a stream wait for an event, which is always complete.
    fn cuStreamWaitEvent(stream: usize, event: usize, _flags: c_uint) -> Context |device| {
        device.stream(stream)?;
        device.events.get(event).map(|_| ())
    }

    /// Reports that a stream is not capturing a graph.
    fn cuStreamIsCapturing(stream: usize, status: Out<c_uint>) -> Context |device| {
        device.stream(stream)?;
        status.write(0)
    }
}
