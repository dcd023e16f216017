//! What the worker tells of itself while it works.

use ltx2_types::Device;

/// How the worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// What the engine computes on.
    pub device: Device,
    /// Whether the engine holds a model in memory.
    pub loaded: bool,
    /// Whether a task is being run.
    pub activity: Activity,
    /// How many orders to unload are carried out.
    pub(crate) unloads: u64,
}

/// What the worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Waits for a task.
    Idle,
    /// Runs one.
    Busy,
}
