//! Parser for PTX, the assembly language of CUDA kernels.

mod body;
mod decode;
mod function;
mod instruction;
mod lexer;
mod operand;
mod parser;
mod types;

pub(crate) use body::DYNAMIC_SHARED;
pub(crate) use function::{Argument, Function};
pub(crate) use instruction::*;
pub(crate) use operand::{Slot, Source, Special};
pub(crate) use parser::{ParsedModule, Variable, parse};
pub(crate) use types::{Space, Type};

/// A parse error with its line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("PTX line {line}: {reason}")]
pub(crate) struct PtxError {
    pub(crate) line: usize,
    pub(crate) reason: String,
}
