//! A parsed function.

use std::collections::BTreeMap;

use super::{Instruction, Slot};

/// A kernel or a device function.
#[derive(Debug, Default)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) is_kernel: bool,
    pub(crate) instructions: Vec<Instruction>,
    /// Number of registers.
    pub(crate) slots: usize,
    /// Bytes of local memory per thread.
    pub(crate) local: usize,
    /// Bytes of static shared memory per block.
    pub(crate) shared: usize,
    /// Arguments of a kernel.
    pub(crate) arguments: Vec<Argument>,
    /// Maximum number of threads per block.
    pub(crate) max_threads: Option<u32>,
    /// Parameters of a device function and of the calls it makes: registers by byte offset.
    pub(crate) parameters: Vec<BTreeMap<i64, Slot>>,
    /// Indices into `parameters` of a device function's results and inputs.
    pub(crate) results: Vec<usize>,
    pub(crate) inputs: Vec<usize>,
}

/// Position of a kernel's argument in the argument buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Argument {
    pub(crate) offset: usize,
    pub(crate) bytes: usize,
}
