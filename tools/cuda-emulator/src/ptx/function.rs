//! A function's instructions, and what it takes to run them.

use std::collections::BTreeMap;

use super::{Instruction, Slot};

/// A kernel, or a function that kernels call.
#[derive(Debug, Default)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) is_kernel: bool,
    pub(crate) instructions: Vec<Instruction>,
    /// Registers.
    pub(crate) slots: usize,
    /// Bytes of each thread's own memory.
    pub(crate) local: usize,
    /// Bytes of the block's memory, without what a launch adds.
    pub(crate) shared: usize,
    /// A kernel's arguments.
    pub(crate) arguments: Vec<Argument>,
    /// Threads of a block at most.
    pub(crate) max_threads: Option<u32>,
    /// A called function's results and parameters, and what it passes on itself: registers by their place in bytes.
    pub(crate) parameters: Vec<BTreeMap<i64, Slot>>,
    /// Which of them are its results and what it is called with.
    pub(crate) results: Vec<usize>,
    pub(crate) takes: Vec<usize>,
}

/// Where a kernel's argument stands among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Argument {
    pub(crate) offset: usize,
    pub(crate) bytes: usize,
}
