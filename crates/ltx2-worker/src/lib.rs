//! Claims tasks from the store, runs them one after the other on a thread that owns the device, and stores the results.

mod device_thread;
mod inputs;
mod keeper;
mod memory;
mod orders;
mod settle;
mod status;
mod task_previews;
mod task_watch;
mod worker;

pub use memory::settle_allocator;
pub use orders::WorkerControl;
pub use status::{Activity, Status};
pub use worker::{Settings, Worker, WorkerError, WorkerHandle};
