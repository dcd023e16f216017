//! Events, by the host's clock: what lies between two of them is the time that emulating takes, not a card's.

use std::ffi::c_uint;
use std::time::Instant;

use super::call::{Out, driver};
use super::device::{Device, Event};
use super::status::{Result, Status};
use crate::memory;

/// An event that keeps no time.
const DISABLE_TIMING: c_uint = 2;

fn milliseconds(device: &Device, start: usize, end: usize) -> Result<f32> {
    let [start, end] = [device.events.get(start)?, device.events.get(end)?];
    match (start.at, end.at) {
        (Some(from), Some(to)) if start.timed && end.timed => {
            let seconds =
                to.saturating_duration_since(from).as_secs_f64() - from.saturating_duration_since(to).as_secs_f64();
            Ok((seconds * 1e3) as f32)
        }
        _ => Err(Status::InvalidHandle),
    }
}

driver! {
    /// A new event.
    fn cuEventCreate(event: Out<usize>, flags: c_uint) -> Context |device| {
        if flags > 7 {
            return Err(Status::InvalidValue);
        }
        let handle = device.events.insert(Event { timed: flags & DISABLE_TIMING == 0, at: None, copies: 0 });
        event.put(handle)
    }

    /// Ends an event.
    fn cuEventDestroy_v2(event: usize) -> Context |device| { device.events.remove(event).map(|_| ()) }

    /// Notes that a stream has come this far.
    fn cuEventRecord(event: usize, stream: usize) -> Context |device| {
        device.stream(stream)?;
        let copies = device.pinned.begun();
        let event = device.events.get_mut(event)?;
        (event.at, event.copies) = (Some(Instant::now()), copies);
        Ok(())
    }

    /// Whether an event is over: always.
    fn cuEventQuery(event: usize) -> Context |device| { device.events.get(event).map(|_| ()) }

    /// Waits for an event, and with it for the copies before it.
    fn cuEventSynchronize(event: usize) -> Context |device| {
        let copies = device.events.get(event)?.copies;
        device.pinned.land(copies);
        memory::memory().usage.synchronise();
        Ok(())
    }

    /// Milliseconds of the host between two events.
    fn cuEventElapsedTime(time: Out<f32>, start: usize, end: usize) -> Context |device| {
        time.put(milliseconds(device, start, end)?)
    }

    /// Milliseconds of the host between two events.
    fn cuEventElapsedTime_v2(time: Out<f32>, start: usize, end: usize) -> Context |device| {
        time.put(milliseconds(device, start, end)?)
    }
}
