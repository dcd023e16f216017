//! Runs kernels: grids of blocks of warps, 32 lanes of which do the same instruction where they agree on it.

mod arithmetic;
mod block;
mod convert;
mod descriptor;
mod lanes;
mod matrix;
mod memory;
mod number;
mod roll;
mod visibility;
mod warp;

use std::collections::HashMap;
use std::sync::Arc;

use crate::memory::Ranges;
use crate::ptx::{Argument, Function, Parsed, Variable, parse};

type Functions = HashMap<String, Arc<Function>>;

/// A module that was loaded.
pub(crate) struct Module {
    functions: Arc<Functions>,
    variables: HashMap<String, (u64, usize)>,
}

impl Module {
    /// Reads PTX, and puts the module's variables into the device's memory.
    pub(crate) fn load(text: &str) -> Result<Self, String> {
        let Parsed { functions, variables } = parse(text, &mut place).map_err(|error| error.to_string())?;
        let functions = functions.into_iter().map(|(name, function)| (name, Arc::new(function))).collect();
        Ok(Self { functions: Arc::new(functions), variables })
    }

    /// A kernel by its name.
    pub(crate) fn kernel(&self, name: &str) -> Option<Arc<Kernel>> {
        let function = self.functions.get(name).filter(|function| function.is_kernel)?;
        Some(Arc::new(Kernel {
            name: name.into(),
            params: function.arguments.clone(),
            shared: function.shared as u32,
            max_threads: function.max_threads,
            function: Arc::clone(function),
            functions: Arc::clone(&self.functions),
        }))
    }

    /// A variable's address and bytes.
    pub(crate) fn global(&self, name: &str) -> Option<(u64, usize)> {
        self.variables.get(name).copied()
    }
}

/// Puts a variable into the device's memory.
fn place(variable: &Variable) -> Result<u64, String> {
    let Variable { bytes, initial } = variable;
    let address = crate::memory::allocate(*bytes).ok_or("no memory is left for a module's variables")?;
    let mut value = initial.clone();
    value.resize(*bytes, 0);
    // SAFETY: so many bytes were allocated there, which may be written.
    unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), address as *mut u8, value.len()) };
    Ok(address)
}

/// A kernel, with the functions that it may call.
pub(crate) struct Kernel {
    pub(crate) name: String,
    /// Where each argument stands.
    pub(crate) params: Vec<Argument>,
    /// Bytes of the block's memory that the kernel declares.
    pub(crate) shared: u32,
    /// Threads of a block at most, where the kernel says so.
    pub(crate) max_threads: Option<u32>,
    function: Arc<Function>,
    functions: Arc<Functions>,
}

impl Drop for Module {
    fn drop(&mut self) {
        self.variables.values().for_each(|(address, _)| crate::memory::free(*address));
    }
}

/// What a kernel is started with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Launch<'a> {
    /// Blocks, by axis.
    pub(crate) grid: [u32; 3],
    /// Threads of a block, by axis.
    pub(crate) block: [u32; 3],
    /// Bytes of the block's memory besides what the kernel declares.
    pub(crate) shared: u32,
    /// The arguments, each at its offset.
    pub(crate) params: &'a [u8],
    /// What may be read and written.
    pub(crate) memory: &'a Ranges,
}

impl Kernel {
    /// Runs it to its end. The error says what a thread did that it must not, or what is not emulated.
    pub(crate) fn launch(&self, launch: &Launch) -> Result<(), String> {
        block::run(&self.function, &self.functions, launch)
    }
}

#[cfg(test)]
mod tests;
