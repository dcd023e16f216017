//! Arguments of a launch.

use std::collections::HashMap;
use std::sync::Arc;

use crate::memory::Ranges;
use crate::ptx::Function;

/// Functions of a module by name.
pub(super) type Functions = HashMap<String, Arc<Function>>;

/// Arguments of a launch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Launch<'a> {
    /// Blocks per axis.
    pub(crate) grid: [u32; 3],
    /// Threads per block and axis.
    pub(crate) block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub(crate) shared: u32,
    /// Packed kernel arguments.
    pub(crate) params: &'a [u8],
    /// Accessible allocations.
    pub(crate) memory: &'a Ranges,
}
