//! Claims tasks from the store, runs them one after the other on an engine, and stores the results.

mod orders;
mod run;
mod settle;
mod status;
mod work_loop;
mod worker;

pub use orders::WorkerControl;
pub use status::{Activity, Status};
pub use worker::{Launch, Settings, Worker, WorkerError, WorkerHandle};
