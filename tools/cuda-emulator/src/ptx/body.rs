//! A function while it is read: its names, registers and instructions.

use std::collections::{BTreeMap, HashMap};

use super::operand::{Operand, Special, literal};
use super::{Function, Instruction, Operation, PtxError, Slot, Source, Space};

/// Where a block's dynamic shared memory begins, far behind what a kernel declares itself.
pub(crate) const DYNAMIC_SHARED: u64 = 1 << 20;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Register(Slot),
    /// A kernel's argument, at this byte.
    Argument(usize),
    /// A parameter of a function that is called, by its number.
    Parameter(usize),
    Local(usize),
    Shared(u64),
    Global(u64),
}

/// Names of one pair of braces.
#[derive(Debug, Default)]
struct Scope<'a> {
    names: HashMap<&'a str, Name>,
    /// `%r<73>`: the first register and how many.
    ranges: HashMap<&'a str, (Slot, u32)>,
}

#[derive(Debug, Default)]
pub(super) struct Body<'a> {
    pub(super) function: Function,
    scopes: Vec<Scope<'a>>,
    labels: HashMap<&'a str, usize>,
    /// Instructions that go to a label.
    branches: Vec<(usize, &'a str, usize)>,
}

impl<'a> Body<'a> {
    /// With the names of the module around it.
    pub(super) fn new(function: Function, globals: HashMap<&'a str, Name>) -> Self {
        let outer = Scope { names: globals, ranges: HashMap::new() };
        Self { function, scopes: vec![outer, Scope::default()], ..Self::default() }
    }

    pub(super) fn open(&mut self) {
        self.scopes.push(Scope::default());
    }

    pub(super) fn close(&mut self) {
        self.scopes.pop();
    }

    fn scope(&mut self) -> &mut Scope<'a> {
        self.scopes.last_mut().expect("a function has a scope")
    }

    pub(super) fn name(&mut self, name: &'a str, what: Name) {
        self.scope().names.insert(name, what);
    }

    pub(super) fn register(&mut self, name: &'a str) {
        let slot = self.fresh(1);
        self.name(name, Name::Register(slot));
    }

    pub(super) fn registers(&mut self, prefix: &'a str, count: u32) {
        let first = self.fresh(count);
        self.scope().ranges.insert(prefix, (first, count));
    }

    fn fresh(&mut self, count: u32) -> Slot {
        let first = self.function.slots as Slot;
        self.function.slots += count as usize;
        first
    }

    /// A parameter of a call, or of this function if it is called.
    pub(super) fn parameter(&mut self, name: &'a str) -> usize {
        self.function.parameters.push(BTreeMap::new());
        let number = self.function.parameters.len() - 1;
        self.name(name, Name::Parameter(number));
        number
    }

    pub(super) fn label(&mut self, name: &'a str) {
        self.labels.insert(name, self.function.instructions.len());
    }

    pub(super) fn push(&mut self, guard: Option<(Slot, bool)>, operation: Operation, line: usize) {
        self.function.instructions.push(Instruction { guard, operation, line });
    }

    /// Goes to `label`, wherever that will be.
    pub(super) fn branch(&mut self, label: &'a str, line: usize) -> Operation {
        self.branches.push((self.function.instructions.len(), label, line));
        Operation::Branch(usize::MAX)
    }

    /// The function, with its branches' targets known.
    pub(super) fn finish(mut self) -> Result<Function, PtxError> {
        for (at, label, line) in self.branches {
            let Some(target) = self.labels.get(label) else {
                return Err(PtxError { line, reason: format!("there is no label {label}") });
            };
            self.function.instructions[at].operation = Operation::Branch(*target);
        }
        Ok(self.function)
    }

    fn find(&self, name: &str) -> Option<Name> {
        let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (prefix, number) = name.split_at(name.len() - digits);
        let number = number.parse::<u32>().ok();
        self.scopes.iter().rev().find_map(|scope| {
            scope.names.get(name).copied().or_else(|| {
                let (first, count) = scope.ranges.get(prefix)?;
                number.filter(|number| number < count).map(|number| Name::Register(first + number))
            })
        })
    }

    /// The register named `name`.
    pub(super) fn slot(&self, name: &str) -> Result<Slot, String> {
        match self.find(name) {
            Some(Name::Register(slot)) => Ok(slot),
            _ => Err(format!("{name} is not a register")),
        }
    }

    /// The register of a parameter's value at byte `offset`.
    pub(super) fn parameter_slot(&mut self, number: usize, offset: i64) -> Slot {
        if let Some(slot) = self.function.parameters[number].get(&offset) {
            return *slot;
        }
        let slot = self.fresh(1);
        self.function.parameters[number].insert(offset, slot);
        slot
    }

    /// The number of the parameter named `name`.
    pub(super) fn parameter_number(&self, name: &str) -> Result<usize, String> {
        match self.find(name) {
            Some(Name::Parameter(number)) => Ok(number),
            _ => Err(format!("{name} is not a parameter")),
        }
    }

    /// The value of an operand.
    pub(super) fn source(&self, operand: &Operand) -> Result<Source, String> {
        match operand {
            Operand::Word(word) => self.word(word),
            Operand::Negative(word) => {
                let number = literal(word).ok_or_else(|| format!("-{word} is not a number"))?;
                Ok(Source::Constant(number.wrapping_neg()))
            }
            other => Err(format!("{other:?} is not a value")),
        }
    }

    fn word(&self, word: &str) -> Result<Source, String> {
        if let Some(bits) = literal(word) {
            return Ok(Source::Constant(bits));
        }
        match self.find(word) {
            Some(Name::Register(slot)) => Ok(Source::Register(slot)),
            Some(Name::Global(address) | Name::Shared(address)) => Ok(Source::Constant(address)),
            Some(Name::Local(at) | Name::Argument(at)) => Ok(Source::Constant(at as u64)),
            Some(Name::Parameter(_)) => Err(format!("{word} is a parameter, which has no address")),
            None if word == "WARP_SZ" => Ok(Source::Constant(32)),
            None => Special::named(word).map(Source::Special).ok_or_else(|| format!("{word} is not known")),
        }
    }

    /// What is at an address operand.
    pub(super) fn place(&self, operand: &Operand, space: Space) -> Result<Place, String> {
        let Operand::Address(base, offset) = operand else { return Err(format!("{operand:?} is not an address")) };
        match self.find(base) {
            Some(Name::Parameter(number)) if space == Space::Param => Ok(Place::Parameter(number, *offset)),
            _ => Ok(Place::Memory(self.word(base)?, *offset)),
        }
    }
}

/// Where a load or store goes.
pub(super) enum Place {
    Memory(Source, i64),
    /// A call's parameter and a byte of it.
    Parameter(usize, i64),
}
