//! Objects behind the handles of the driver and of cuBLAS.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::machine::{LoadedKernel, Module};

/// A CUDA event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) timed: bool,
    pub(crate) at: Option<Instant>,
    /// Number of copies from page-locked memory that were started before the event was recorded.
    pub(crate) copies: u64,
}

/// A loaded module, and the handles of the functions requested from it.
pub(crate) struct LoadedModule {
    pub(super) module: Module,
    pub(super) functions: HashMap<String, usize>,
}

/// A kernel of a loaded module.
pub(crate) struct Function {
    pub(crate) kernel: Arc<LoadedKernel>,
    /// Limit of dynamic shared memory in bytes.
    pub(crate) max_dynamic_shared: u32,
    pub(super) module: usize,
}

/// State of a cuBLAS handle.
#[derive(Debug, Default)]
pub(crate) struct BlasHandle {
    pub(crate) stream: usize,
}
