//! Events. Their timestamps are the host's: elapsed times are those of the emulation, not of a GPU.

use std::ffi::c_uint;
use std::time::Instant;

use super::call::{Out, driver};
use super::device::Device;
use super::objects::Event;
use super::status::{CudaStatus, Result};
use crate::memory;

/// `CU_EVENT_DISABLE_TIMING`.
const DISABLE_TIMING: c_uint = 2;

fn milliseconds(device: &Device, start: usize, end: usize) -> Result<f32> {
    let [start, end] = [device.events.get(start)?, device.events.get(end)?];
    match (start.at, end.at) {
        (Some(from), Some(to)) if start.timed && end.timed => {
            let seconds =
                to.saturating_duration_since(from).as_secs_f64() - from.saturating_duration_since(to).as_secs_f64();
            Ok((seconds * 1e3) as f32)
        }
        _ => Err(CudaStatus::InvalidHandle),
    }
}

driver! {
    /// Creates an event.
    fn cuEventCreate(event: Out<usize>, flags: c_uint) -> Context |device| {
        if flags > 7 {
            return Err(CudaStatus::InvalidValue);
        }
        let handle = device.events.insert(Event { timed: flags & DISABLE_TIMING == 0, at: None, copies: 0 });
        event.write(handle)
    }

    /// Destroys an event.
    fn cuEventDestroy_v2(event: usize) -> Context |device| { device.events.remove(event).map(|_| ()) }

    /// Records an event on a stream.
    fn cuEventRecord(event: usize, stream: usize) -> Context |device| {
        device.stream(stream)?;
        let copies = device.pinned.started();
        let event = device.events.get_mut(event)?;
        (event.at, event.copies) = (Some(Instant::now()), copies);
        Ok(())
    }

    /// Queries an event, which is always complete.
    fn cuEventQuery(event: usize) -> Context |device| { device.events.get(event).map(|_| ()) }

    /// Waits for an event, and completes the copies started before it.
    fn cuEventSynchronize(event: usize) -> Context |device| {
        let copies = device.events.get(event)?.copies;
        device.pinned.complete(copies);
        memory::memory().usage.synchronise();
        Ok(())
    }

    /// Returns the host's milliseconds between two events.
    fn cuEventElapsedTime(time: Out<f32>, start: usize, end: usize) -> Context |device| {
        time.write(milliseconds(device, start, end)?)
    }

    /// Returns the host's milliseconds between two events.
    fn cuEventElapsedTime_v2(time: Out<f32>, start: usize, end: usize) -> Context |device| {
        time.write(milliseconds(device, start, end)?)
    }
}
