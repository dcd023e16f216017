//! The engine process. It is separate from the server: exiting frees all host and device memory, and a crash or an OOM
//! kill fails one task instead of the server.
//!
//! [`host_engine`] is the child side and runs a [`ltx2_types::Generator`]. [`EngineClient`] is the parent side. They
//! exchange [`EngineCommand`] and [`EngineEvent`] messages over a socket, one JSON object per line; media travel as
//! files.

mod client;
mod host;
mod process;
mod progress;
mod protocol;

pub use client::EngineClient;
pub use host::host_engine;
pub use ltx2_media::remove_leftovers;
pub use process::{engine_socket, exit_now};
pub use protocol::{EngineCommand, EngineEvent, EngineJob, EngineState, PROTOCOL_VERSION};
