//! Status of the worker.

use ltx2_types::Device;

/// Status of the worker and its engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Device of the engine.
    pub device: Device,
    /// Whether a model is in memory.
    pub loaded: bool,
    /// Current activity.
    pub activity: Activity,
    /// Number of executed commands to unload.
    pub(crate) unloads: u64,
}

/// Activity of the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Waits for a task.
    Idle,
    /// Runs a task.
    Busy,
}
