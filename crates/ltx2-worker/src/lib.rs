//! Claims tasks from the store, has an engine in a process of its own run them one after the other, and stores the
//! results. The engine's side is [`host_engine`].

mod engine;
mod orders;
mod run;
mod settle;
mod status;
mod work_loop;
mod worker;

pub use engine::{Line, engine_socket, host_engine, leave};
pub use orders::WorkerControl;
pub use status::{Activity, Status};
pub use worker::{Launch, Settings, Worker, WorkerError, WorkerHandle};
