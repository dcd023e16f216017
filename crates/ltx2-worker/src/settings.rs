//! Settings of the worker.

use std::time::Duration;

use ltx2_engine::EngineClient;
use ltx2_types::{Failure, ImageLimits};

/// Function that starts an engine.
pub type Launch = Box<dyn Fn() -> Result<EngineClient, Failure> + Send + Sync>;

/// Settings of the worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSettings {
    /// Name of the worker in the database, for operators.
    pub name: String,
    /// Time without a heartbeat after which a task is reclaimed.
    pub lease: Duration,
    /// Time without a task after which the engine is ended; `None` keeps it.
    pub idle_timeout: Option<Duration>,
    /// Limits for decoding images. Must equal the server's.
    pub image: ImageLimits,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            name: "worker".into(),
            lease: Duration::from_secs(30),
            idle_timeout: Some(Duration::from_secs(60)),
            image: ImageLimits::default(),
        }
    }
}
