//! Function under construction: names, registers and instructions.

use std::collections::{BTreeMap, HashMap};

use super::operand::{Operand, Special, literal};
use super::{Function, Instruction, Operation, PtxError, Slot, Source, Space};

/// Address at which a block's dynamic shared memory starts, above the shared memory that kernels declare.
pub(crate) const DYNAMIC_SHARED: u64 = 1 << 20;

/// Meaning of an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Symbol {
    Register(Slot),
    /// A kernel's argument, by byte offset.
    Argument(usize),
    /// A parameter of a device function or of a call, by index.
    Parameter(usize),
    Local(usize),
    Shared(u64),
    Global(u64),
}

/// Identifiers of one block in braces.
#[derive(Debug, Default)]
struct Scope<'a> {
    names: HashMap<&'a str, Symbol>,
    /// Register ranges such as `%r<73>`: first register and count, by prefix.
    ranges: HashMap<&'a str, (Slot, u32)>,
}

#[derive(Debug, Default)]
pub(super) struct Body<'a> {
    pub(super) function: Function,
    scopes: Vec<Scope<'a>>,
    labels: HashMap<&'a str, usize>,
    /// Branches to resolve: instruction, label and source line.
    branches: Vec<(usize, &'a str, usize)>,
}

impl<'a> Body<'a> {
    /// Creates a function within the scope of a module's globals.
    pub(super) fn new(function: Function, globals: HashMap<&'a str, Symbol>) -> Self {
        let outer = Scope { names: globals, ranges: HashMap::new() };
        Self { function, scopes: vec![outer, Scope::default()], ..Self::default() }
    }

    pub(super) fn open_scope(&mut self) {
        self.scopes.push(Scope::default());
    }

    pub(super) fn close_scope(&mut self) {
        self.scopes.pop();
    }

    fn scope(&mut self) -> &mut Scope<'a> {
        self.scopes.last_mut().expect("a function has a scope")
    }

    pub(super) fn define(&mut self, name: &'a str, symbol: Symbol) {
        self.scope().names.insert(name, symbol);
    }

    pub(super) fn define_register(&mut self, name: &'a str) {
        let slot = self.allocate_slots(1);
        self.define(name, Symbol::Register(slot));
    }

    pub(super) fn define_registers(&mut self, prefix: &'a str, count: u32) {
        let first = self.allocate_slots(count);
        self.scope().ranges.insert(prefix, (first, count));
    }

    fn allocate_slots(&mut self, count: u32) -> Slot {
        let first = self.function.slots as Slot;
        self.function.slots += count as usize;
        first
    }

    /// Declares a parameter of a call or of this device function, and returns its index.
    pub(super) fn define_parameter(&mut self, name: &'a str) -> usize {
        self.function.parameters.push(BTreeMap::new());
        let number = self.function.parameters.len() - 1;
        self.define(name, Symbol::Parameter(number));
        number
    }

    pub(super) fn define_label(&mut self, name: &'a str) {
        self.labels.insert(name, self.function.instructions.len());
    }

    pub(super) fn push(&mut self, guard: Option<(Slot, bool)>, operation: Operation, line: usize) {
        self.function.instructions.push(Instruction { guard, operation, line });
    }

    /// Adds a branch to a label that may be defined later.
    pub(super) fn branch(&mut self, label: &'a str, line: usize) -> Operation {
        self.branches.push((self.function.instructions.len(), label, line));
        Operation::Branch(usize::MAX)
    }

    /// Resolves the branches and returns the function.
    pub(super) fn finish(mut self) -> Result<Function, PtxError> {
        for (at, label, line) in self.branches {
            let Some(target) = self.labels.get(label) else {
                return Err(PtxError { line, reason: format!("undefined label {label}") });
            };
            self.function.instructions[at].operation = Operation::Branch(*target);
        }
        Ok(self.function)
    }

    fn lookup(&self, name: &str) -> Option<Symbol> {
        let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (prefix, number) = name.split_at(name.len() - digits);
        let number = number.parse::<u32>().ok();
        self.scopes.iter().rev().find_map(|scope| {
            scope.names.get(name).copied().or_else(|| {
                let (first, count) = scope.ranges.get(prefix)?;
                number.filter(|number| number < count).map(|number| Symbol::Register(first + number))
            })
        })
    }

    /// Returns the register `name`.
    pub(super) fn slot(&self, name: &str) -> Result<Slot, String> {
        match self.lookup(name) {
            Some(Symbol::Register(slot)) => Ok(slot),
            _ => Err(format!("expected a register, found {name}")),
        }
    }

    /// Returns the register that holds the parameter's value at byte `offset`.
    pub(super) fn parameter_slot(&mut self, number: usize, offset: i64) -> Slot {
        if let Some(slot) = self.function.parameters[number].get(&offset) {
            return *slot;
        }
        let slot = self.allocate_slots(1);
        self.function.parameters[number].insert(offset, slot);
        slot
    }

    /// Returns the index of the parameter `name`.
    pub(super) fn parameter_number(&self, name: &str) -> Result<usize, String> {
        match self.lookup(name) {
            Some(Symbol::Parameter(number)) => Ok(number),
            _ => Err(format!("expected a parameter, found {name}")),
        }
    }

    /// Converts an operand to a source value.
    pub(super) fn source(&self, operand: &Operand) -> Result<Source, String> {
        match operand {
            Operand::Word(word) => self.resolve(word),
            Operand::Negative(word) => {
                let number = literal(word).ok_or_else(|| format!("expected a literal, found -{word}"))?;
                Ok(Source::Constant(number.wrapping_neg()))
            }
            other => Err(format!("expected a value, found {other:?}")),
        }
    }

    fn resolve(&self, word: &str) -> Result<Source, String> {
        if let Some(bits) = literal(word) {
            return Ok(Source::Constant(bits));
        }
        match self.lookup(word) {
            Some(Symbol::Register(slot)) => Ok(Source::Register(slot)),
            Some(Symbol::Global(address) | Symbol::Shared(address)) => Ok(Source::Constant(address)),
            Some(Symbol::Local(at) | Symbol::Argument(at)) => Ok(Source::Constant(at as u64)),
            Some(Symbol::Parameter(_)) => {
                Err(format!("the address of parameter {word} is taken, which is not emulated"))
            }
            None if word == "WARP_SZ" => Ok(Source::Constant(32)),
            None => Special::from_name(word).map(Source::Special).ok_or_else(|| format!("undefined identifier {word}")),
        }
    }

    /// Resolves an address operand.
    pub(super) fn location(&self, operand: &Operand, space: Space) -> Result<Location, String> {
        let Operand::Address(base, offset) = operand else {
            return Err(format!("expected an address, found {operand:?}"));
        };
        match self.lookup(base) {
            Some(Symbol::Parameter(number)) if space == Space::Param => Ok(Location::Parameter(number, *offset)),
            _ => Ok(Location::Memory(self.resolve(base)?, *offset)),
        }
    }
}

/// Location that a load or store accesses.
pub(super) enum Location {
    Memory(Source, i64),
    /// A call's parameter, by index and byte offset.
    Parameter(usize, i64),
}
