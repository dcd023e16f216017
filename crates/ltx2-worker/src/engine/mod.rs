//! The engine runs in a process of its own: when it ends, all of its memory is back, on the device too, and a fault in
//! it, or the system's hand when memory is short, takes one task with it rather than the server. The two talk in lines
//! of JSON over one socket.

mod assignment_watch;
mod host;
mod line;
mod process;
mod protocol;

pub use host::host_engine;
pub use line::Line;
pub use process::{engine_socket, leave};
pub(crate) use protocol::{Assignment, EngineState, Note, Order};
