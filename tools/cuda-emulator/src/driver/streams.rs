//! Streams. All work is done when its call returns, so they only have names.

use std::ffi::{c_int, c_uint};

use super::call::{Out, driver};
use super::status::Status;
use crate::memory;

driver! {
    /// A new stream.
    fn cuStreamCreate(stream: Out<usize>, flags: c_uint) -> Context |device| {
        if flags > 1 {
            return Err(Status::InvalidValue);
        }
        let handle = device.streams.insert(());
        stream.put(handle)
    }

    /// A new stream; its priority changes nothing.
    fn cuStreamCreateWithPriority(stream: Out<usize>, flags: c_uint, _priority: c_int) -> Context |device| {
        if flags > 1 {
            return Err(Status::InvalidValue);
        }
        let handle = device.streams.insert(());
        stream.put(handle)
    }

    /// Ends a stream.
    fn cuStreamDestroy_v2(stream: usize) -> Context |device| { device.streams.remove(stream) }

    /// Waits for a stream, which is always done.
    fn cuStreamSynchronize(stream: usize) -> Context |device| {
        device.stream(stream)?;
        memory::memory().usage.synchronise();
        Ok(())
    }

    /// Has a stream wait for an event, which is always over.
    fn cuStreamWaitEvent(stream: usize, event: usize, _flags: c_uint) -> Context |device| {
        device.stream(stream)?;
        device.events.get(event).map(|_| ())
    }

    /// Whether a stream's work is being recorded: never.
    fn cuStreamIsCapturing(stream: usize, status: Out<c_uint>) -> Context |device| {
        device.stream(stream)?;
        status.put(0)
    }
}
