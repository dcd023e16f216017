//! What a run computes on: opening it, its memory, its clock, and what its errors mean. The only place that knows CUDA's
//! driver.

mod card;
mod choice;
#[cfg(feature = "cuda")]
mod cuda;
mod fault;
mod memory;
mod warm_up;

pub use card::Card;
pub use choice::DeviceChoice;
pub(crate) use fault::{Fault, fault};
pub use memory::{DeviceMemory, peak_memory, reset_peak_memory};
pub(crate) use memory::{Gib, available, give_back, make_room};
pub(crate) use warm_up::warm_up;
