//! PTX interpreter. A grid runs as blocks of warps; the 32 lanes of a warp execute in lockstep where they are at the
//! same instruction.

mod arithmetic;
mod block;
mod convert;
mod descriptor;
mod issue_order;
mod lanes;
mod launch;
mod matrix;
mod memory;
mod value;
mod visibility;
mod warp;

use std::collections::HashMap;
use std::sync::Arc;

use crate::ptx::{Argument, Function, ParsedModule, Variable, parse};
use launch::Functions;
pub(crate) use launch::Launch;

/// A loaded module.
pub(crate) struct Module {
    functions: Arc<Functions>,
    variables: HashMap<String, (u64, usize)>,
}

impl Module {
    /// Parses PTX and allocates the module's variables in device memory.
    pub(crate) fn load(text: &str) -> Result<Self, String> {
        let ParsedModule { functions, variables } = parse(text, &mut place).map_err(|error| error.to_string())?;
        let functions = functions.into_iter().map(|(name, function)| (name, Arc::new(function))).collect();
        Ok(Self { functions: Arc::new(functions), variables })
    }

    /// Returns a kernel by name.
    pub(crate) fn kernel(&self, name: &str) -> Option<Arc<LoadedKernel>> {
        let function = self.functions.get(name).filter(|function| function.is_kernel)?;
        Some(Arc::new(LoadedKernel {
            name: name.into(),
            params: function.arguments.clone(),
            shared: function.shared as u32,
            max_threads: function.max_threads,
            function: Arc::clone(function),
            functions: Arc::clone(&self.functions),
        }))
    }

    /// Returns a variable's address and size.
    pub(crate) fn global(&self, name: &str) -> Option<(u64, usize)> {
        self.variables.get(name).copied()
    }
}

/// Allocates and initialises a variable in device memory.
fn place(variable: &Variable) -> Result<u64, String> {
    let Variable { bytes, initial } = variable;
    let address = crate::memory::allocate(*bytes).ok_or("out of device memory for a module's variables")?;
    let mut value = initial.clone();
    value.resize(*bytes, 0);
    // SAFETY: `address` is an allocation of `bytes` bytes that is writable in both modes, and `value` has that length.
    unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), address as *mut u8, value.len()) };
    Ok(address)
}

/// A kernel, with the device functions of its module.
pub(crate) struct LoadedKernel {
    pub(crate) name: String,
    /// Layout of the arguments.
    pub(crate) params: Vec<Argument>,
    /// Bytes of static shared memory.
    pub(crate) shared: u32,
    /// Maximum number of threads per block, if the kernel declares one.
    pub(crate) max_threads: Option<u32>,
    function: Arc<Function>,
    functions: Arc<Functions>,
}

impl Drop for Module {
    fn drop(&mut self) {
        self.variables.values().for_each(|(address, _)| crate::memory::free(*address));
    }
}

impl LoadedKernel {
    /// Runs the kernel to completion. The error describes an illegal access or an unsupported instruction.
    pub(crate) fn launch(&self, launch: &Launch) -> Result<(), String> {
        block::run(&self.function, &self.functions, launch)
    }
}

#[cfg(test)]
mod tests;
