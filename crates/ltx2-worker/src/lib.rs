//! Worker: claims tasks from the store, runs them one at a time on an engine, and stores their results.

mod control;
mod finalize;
mod outcome;
mod run;
mod settings;
mod status;
mod work_loop;
mod worker;

pub use control::WorkerControl;
pub use settings::{Launch, WorkerSettings};
pub use status::{Activity, WorkerStatus};
pub use worker::{Worker, WorkerError, WorkerHandle};
