//! Decoding of instructions: from opcode and operands to operations.

mod warpgroup;

use super::body::{Body, Location};
use super::operand::Operand;
use super::{
    Atomic, Binary, Carry, Comparison, Logic, Operation, Rounding, Shuffle, Slot, Source, Space, Ternary, Type, Unary,
    Vote,
};

/// An instruction being decoded.
struct Decoder<'a, 'b, 'c> {
    mnemonic: &'a str,
    /// Opcode modifiers: the parts after the first dot.
    modifiers: Vec<&'a str>,
    types: Vec<Type>,
    operands: &'b [Operand<'a>],
    body: &'c mut Body<'a>,
    line: usize,
}

/// Decodes `opcode` with its `operands`.
pub(super) fn operation<'a>(
    opcode: &'a str,
    operands: &[Operand<'a>],
    body: &mut Body<'a>,
    line: usize,
) -> Result<Operation, String> {
    let mut parts = opcode.split('.');
    let mnemonic = parts.next().unwrap_or_default();
    let modifiers: Vec<_> = parts.collect();
    let types = modifiers.iter().filter_map(|part| Type::from_name(part)).collect();
    let mut decoder = Decoder { mnemonic, modifiers, types, operands, body, line };
    decoder.decode()
}

type Decoded = Result<Operation, String>;

impl<'a> Decoder<'a, '_, '_> {
    fn decode(&mut self) -> Decoded {
        match self.mnemonic {
            "ld" | "ldu" => self.load(),
            "st" => self.store(),
            "mov" => self.mov(),
            "cvt" => self.convert(),
            "cvta" => self.convert_address(),
            "setp" => self.compare(),
            "set" => self.set(),
            "selp" => Ok(Operation::Select {
                to: self.slot(0)?,
                a: self.source(1)?,
                b: self.source(2)?,
                predicate: self.source(3)?,
            }),
            "bra" => {
                let Some(Operand::Word(label)) = self.operands.first() else { return self.unsupported() };
                Ok(self.body.branch(label, self.line))
            }
            "call" => self.call(),
            "ret" | "exit" => Ok(Operation::Return),
            "trap" => Ok(Operation::Trap),
            "bar" | "barrier" => self.barrier(),
            "fence" if self.has("proxy") => self.proxy_fence(),
            "membar" | "fence" | "prefetch" | "prefetchu" | "griddepcontrol" => Ok(Operation::Nop),
            "atom" | "red" => self.atomic(),
            "shfl" => self.shuffle(),
            "vote" => self.vote(),
            "mma" => self.mma(),
            "wgmma" => self.warpgroup(),
            "ldmatrix" => self.load_matrix(),
            "cp" => self.copy_async(),
            "mad" | "addc" | "subc" | "madc" | "add" | "sub" => self.add(),
            "bfi" => self.insert_bits(),
            "lop3" => {
                let Source::Constant(table) = self.source(4)? else { return self.unsupported() };
                self.ternary(Ternary::Lookup(table as u8))
            }
            _ => self.arithmetic(),
        }
    }

    fn unsupported<T>(&self) -> Result<T, String> {
        Err("unsupported instruction or modifier".into())
    }

    fn has(&self, part: &str) -> bool {
        self.modifiers.contains(&part)
    }

    /// Returns the last type modifier: the type of the inputs.
    fn kind(&self) -> Result<Type, String> {
        self.types.last().copied().map_or_else(|| self.unsupported(), Ok)
    }

    fn operand(&self, at: usize) -> Result<&Operand<'a>, String> {
        self.operands.get(at).ok_or_else(|| format!("missing operand {at}"))
    }

    fn source(&self, at: usize) -> Result<Source, String> {
        self.body.source(self.operand(at)?)
    }

    fn slot(&self, at: usize) -> Result<Slot, String> {
        self.named_slot(self.operand(at)?)
    }

    fn sources(&self, at: usize) -> Result<Vec<Source>, String> {
        match self.operand(at)? {
            Operand::Vector(parts) => parts.iter().map(|part| self.body.source(part)).collect(),
            single => Ok(vec![self.body.source(single)?]),
        }
    }

    fn slots(&self, at: usize) -> Result<Vec<Slot>, String> {
        match self.operand(at)? {
            Operand::Vector(parts) => parts.iter().map(|part| self.named_slot(part)).collect(),
            single => Ok(vec![self.named_slot(single)?]),
        }
    }

    fn named_slot(&self, operand: &Operand) -> Result<Slot, String> {
        match operand {
            Operand::Word(name) => self.body.slot(name),
            other => Err(format!("expected a register, found {other:?}")),
        }
    }

    fn space(&self) -> Space {
        self.modifiers
            .iter()
            .find_map(|part| match *part {
                "global" | "const" => Some(Space::Global),
                "shared" | "shared::cta" => Some(Space::Shared),
                "local" => Some(Space::Local),
                "param" => Some(Space::Param),
                _ => None,
            })
            .unwrap_or(Space::Generic)
    }

    fn memory(&self, at: usize, space: Space) -> Result<(Source, i64), String> {
        match self.body.location(self.operand(at)?, space)? {
            Location::Memory(base, offset) => Ok((base, offset)),
            Location::Parameter(..) => self.unsupported(),
        }
    }

    fn rounding(&self) -> Rounding {
        let named = |part: &&str| {
            Some(match *part {
                "rn" => Rounding::Nearest,
                "rz" => Rounding::Zero,
                "rm" => Rounding::Down,
                "rp" => Rounding::Up,
                "rni" => Rounding::IntegerNearest,
                "rzi" => Rounding::IntegerZero,
                "rmi" => Rounding::IntegerDown,
                "rpi" => Rounding::IntegerUp,
                _ => return None,
            })
        };
        self.modifiers.iter().find_map(named).unwrap_or(Rounding::Nearest)
    }

    fn load(&mut self) -> Decoded {
        let (space, kind) = (self.space(), self.kind()?);
        if let Location::Parameter(number, offset) = self.body.location(self.operand(1)?, space)? {
            let from = self.body.parameter_slot(number, offset);
            return Ok(Operation::Unary { function: Unary::Move, kind, to: self.slot(0)?, a: Source::Register(from) });
        }
        let (base, offset) = self.memory(1, space)?;
        Ok(Operation::Load { space, kind, to: self.slots(0)?, base, offset })
    }

    fn store(&mut self) -> Decoded {
        let (space, kind) = (self.space(), self.kind()?);
        if let Location::Parameter(number, offset) = self.body.location(self.operand(0)?, space)? {
            let a = self.source(1)?;
            let to = self.body.parameter_slot(number, offset);
            return Ok(Operation::Unary { function: Unary::Move, kind, to, a });
        }
        let (base, offset) = self.memory(0, space)?;
        Ok(Operation::Store { space, kind, values: self.sources(1)?, base, offset })
    }

    fn mov(&mut self) -> Decoded {
        let kind = self.kind()?;
        let bits = 8 * kind.bytes() as u32;
        match (self.operand(0)?, self.operand(1)?) {
            (Operand::Vector(parts), _) => {
                let slots = parts.iter().map(|part| match part {
                    Operand::Word("_") => Ok(None),
                    part => self.named_slot(part).map(Some),
                });
                let to = slots.collect::<Result<Vec<_>, _>>()?;
                Ok(Operation::Unpack { bits: bits / to.len() as u32, to, a: self.source(1)? })
            }
            (_, Operand::Vector(_)) => {
                let parts = self.sources(1)?;
                Ok(Operation::Pack { bits: bits / parts.len() as u32, to: self.slot(0)?, parts })
            }
            _ => self.unary(Unary::Move),
        }
    }

    fn convert(&mut self) -> Decoded {
        let [result, kind] = self.types[..] else { return self.unsupported() };
        let upper = if self.operands.len() == 3 { Some(self.source(1)?) } else { None };
        let a = self.source(self.operands.len() - 1)?;
        if self.has("relu") {
            return self.unsupported();
        }
        let saturate = self.has("sat");
        Ok(Operation::Convert { result, kind, rounding: self.rounding(), saturate, to: self.slot(0)?, a, upper })
    }

    fn convert_address(&mut self) -> Decoded {
        let (space, to_generic) = (self.space(), !self.has("to"));
        Ok(Operation::ConvertAddress { space, to_generic, to: self.slot(0)?, a: self.source(1)? })
    }

    fn comparison(&self) -> Result<Comparison, String> {
        use Comparison as C;
        let named = |part: &&str| {
            Some(match *part {
                "eq" => C::Equal,
                "ne" => C::NotEqual,
                "lt" | "lo" => C::Less,
                "le" | "ls" => C::LessOrEqual,
                "gt" | "hi" => C::Greater,
                "ge" | "hs" => C::GreaterOrEqual,
                "equ" => C::EqualOrNan,
                "neu" => C::NotEqualOrNan,
                "ltu" => C::LessOrNan,
                "leu" => C::LessOrEqualOrNan,
                "gtu" => C::GreaterOrNan,
                "geu" => C::GreaterOrEqualOrNan,
                "num" => C::BothNumbers,
                "nan" => C::AnyNan,
                _ => return None,
            })
        };
        self.modifiers.iter().find_map(named).map_or_else(|| self.unsupported(), Ok)
    }

    fn compare(&mut self) -> Decoded {
        let logic = [("and", Logic::And), ("or", Logic::Or), ("xor", Logic::Xor)];
        let with = match logic.into_iter().find(|(name, _)| self.has(name)) {
            Some((_, logic)) => Some((logic, self.source(3)?)),
            None => None,
        };
        let (to, not) = match self.operand(0)? {
            Operand::Pair(to, not) => (self.body.slot(to)?, Some(self.body.slot(not)?)),
            _ => (self.slot(0)?, None),
        };
        let (comparison, kind) = (self.comparison()?, self.kind()?);
        Ok(Operation::Compare { comparison, kind, with, to, not, a: self.source(1)?, b: self.source(2)? })
    }

    fn set(&mut self) -> Decoded {
        let [result, kind] = self.types[..] else { return self.unsupported() };
        let comparison = self.comparison()?;
        Ok(Operation::Set { comparison, result, kind, to: self.slot(0)?, a: self.source(1)?, b: self.source(2)? })
    }

    fn call(&mut self) -> Decoded {
        let list =
            |names: &[&str]| names.iter().map(|name| self.body.parameter_number(name)).collect::<Result<Vec<_>, _>>();
        let (results, name, arguments): (&[&str], _, &[&str]) = match self.operands {
            [Operand::List(results), Operand::Word(name), Operand::List(arguments)] => (results, name, arguments),
            [Operand::List(results), Operand::Word(name)] => (results, name, &[]),
            [Operand::Word(name), Operand::List(arguments)] => (&[], name, arguments),
            [Operand::Word(name)] => (&[], name, &[]),
            _ => return self.unsupported(),
        };
        Ok(Operation::Call { function: (*name).into(), results: list(results)?, arguments: list(arguments)? })
    }

    fn barrier(&mut self) -> Decoded {
        // Only barrier 0 with all threads of the block (`__syncthreads`) is emulated.
        match self.operands {
            [] => Ok(Operation::Barrier),
            [_] if self.source(0)? == Source::Constant(0) => {
                Ok(if self.has("warp") { Operation::Nop } else { Operation::Barrier })
            }
            [_] if self.has("warp") => Ok(Operation::Nop),
            _ => self.unsupported(),
        }
    }

    fn atomic(&mut self) -> Decoded {
        let function = self.modifiers.iter().find_map(|part| {
            Some(match *part {
                "add" => Atomic::Add,
                "min" => Atomic::Minimum,
                "max" => Atomic::Maximum,
                "and" => Atomic::And,
                "or" => Atomic::Or,
                "xor" => Atomic::Xor,
                "exch" => Atomic::Exchange,
                "cas" => Atomic::CompareAndSwap,
                _ => return None,
            })
        });
        let Some(function) = function else { return self.unsupported() };
        let (space, kind) = (self.space(), self.kind()?);
        let (to, at) = if self.mnemonic == "red" { (None, 0) } else { (Some(self.slot(0)?), 1) };
        let (base, offset) = self.memory(at, space)?;
        let a = self.source(at + 1)?;
        let b = if function == Atomic::CompareAndSwap { self.source(at + 2)? } else { a };
        Ok(Operation::Atomic { space, function, kind, to, base, offset, a, b })
    }

    fn shuffle(&mut self) -> Decoded {
        let mode = match self.modifiers[..] {
            ["sync", "bfly", "b32"] => Shuffle::Butterfly,
            ["sync", "up", "b32"] => Shuffle::Up,
            ["sync", "down", "b32"] => Shuffle::Down,
            ["sync", "idx", "b32"] => Shuffle::Index,
            _ => return self.unsupported(),
        };
        let (to, in_range) = match self.operand(0)? {
            Operand::Pair(to, in_range) => (self.body.slot(to)?, Some(self.body.slot(in_range)?)),
            _ => (self.slot(0)?, None),
        };
        let (a, lane, clamp, members) = (self.source(1)?, self.source(2)?, self.source(3)?, self.source(4)?);
        Ok(Operation::Shuffle { mode, to, in_range, a, lane, clamp, members })
    }

    fn vote(&mut self) -> Decoded {
        let mode = match self.modifiers[..] {
            ["sync", "any", "pred"] => Vote::Any,
            ["sync", "all", "pred"] => Vote::All,
            ["sync", "ballot", "b32"] => Vote::Ballot,
            _ => return self.unsupported(),
        };
        Ok(Operation::Vote { mode, to: self.slot(0)?, a: self.source(1)?, members: self.source(2)? })
    }

    fn mma(&mut self) -> Decoded {
        if self.modifiers != ["sync", "aligned", "m16n8k16", "row", "col", "f32", "bf16", "bf16", "f32"] {
            return self.unsupported();
        }
        let wrong = "wrong number of registers in an operand";
        Ok(Operation::Mma {
            to: self.slots(0)?.try_into().map_err(|_| wrong)?,
            a: self.sources(1)?.try_into().map_err(|_| wrong)?,
            b: self.sources(2)?.try_into().map_err(|_| wrong)?,
            c: self.sources(3)?.try_into().map_err(|_| wrong)?,
        })
    }

    fn load_matrix(&mut self) -> Decoded {
        let is_supported = self.has("m8n8") && self.has("b16") && self.space() == Space::Shared;
        let to = self.slots(0)?;
        let count = self.modifiers.iter().find_map(|part| part.strip_prefix('x')).and_then(|count| count.parse().ok());
        if !is_supported || count != Some(to.len()) {
            return self.unsupported();
        }
        let (base, offset) = self.memory(1, Space::Shared)?;
        Ok(Operation::LoadMatrix { to, transposed: self.has("trans"), base, offset })
    }

    fn copy_async(&mut self) -> Decoded {
        match self.modifiers[..] {
            ["async", "commit_group"] => Ok(Operation::CommitCopies),
            ["async", "wait_all"] => Ok(Operation::WaitCopies(0)),
            ["async", "wait_group"] => match self.source(0)? {
                Source::Constant(count) => Ok(Operation::WaitCopies(count as usize)),
                _ => self.unsupported(),
            },
            ["async", "ca" | "cg", "shared" | "shared::cta", "global", ..] => {
                let Source::Constant(bytes @ (4 | 8 | 16)) = self.source(2)? else { return self.unsupported() };
                let present = if self.operands.len() > 3 { Some(self.source(3)?) } else { None };
                let (to, from) = (self.memory(0, Space::Shared)?, self.memory(1, Space::Global)?);
                Ok(Operation::CopyAsync { bytes: bytes as usize, to, from, present })
            }
            _ => self.unsupported(),
        }
    }

    /// Decodes additions and multiply-adds, with or without carry.
    fn add(&mut self) -> Decoded {
        let carry_in = matches!(self.mnemonic, "addc" | "subc" | "madc");
        let carry_out = self.has("cc");
        if !carry_in && !carry_out {
            return match self.mnemonic {
                "add" => self.binary(Binary::Add(self.rounding())),
                "sub" => self.binary(Binary::Subtract(self.rounding())),
                _ => self.multiply_add(),
            };
        }
        let function = match (self.mnemonic, self.has("hi")) {
            ("add" | "addc", _) => Carry::Add,
            ("sub" | "subc", _) => Carry::Subtract,
            (_, false) => Carry::MultiplyAddLow,
            (_, true) => Carry::MultiplyAddHigh,
        };
        let (to, a, b) = (self.slot(0)?, self.source(1)?, self.source(2)?);
        let c = if self.operands.len() > 3 { self.source(3)? } else { Source::Constant(0) };
        Ok(Operation::Carry { function, kind: self.kind()?, carry_in, carry_out, to, a, b, c })
    }

    fn multiply_add(&mut self) -> Decoded {
        if !self.kind()?.is_integer() {
            return self.ternary(Ternary::FusedMultiplyAdd(self.rounding()));
        }
        match self.modifiers[0] {
            "lo" => self.ternary(Ternary::MultiplyAddLow),
            "hi" => self.ternary(Ternary::MultiplyAddHigh),
            "wide" => self.ternary(Ternary::MultiplyAddWide),
            _ => self.unsupported(),
        }
    }

    fn insert_bits(&mut self) -> Decoded {
        let (Source::Constant(place), Source::Constant(length)) = (self.source(3)?, self.source(4)?) else {
            return self.unsupported();
        };
        let c = Source::Constant(place | length << 32);
        let (kind, to) = (self.kind()?, self.slot(0)?);
        Ok(Operation::Ternary { function: Ternary::InsertBits, kind, to, a: self.source(1)?, b: self.source(2)?, c })
    }

    fn unary(&mut self, function: Unary) -> Decoded {
        Ok(Operation::Unary { function, kind: self.kind()?, to: self.slot(0)?, a: self.source(1)? })
    }

    fn binary(&mut self, function: Binary) -> Decoded {
        let kind = self.kind()?;
        Ok(Operation::Binary { function, kind, to: self.slot(0)?, a: self.source(1)?, b: self.source(2)? })
    }

    fn ternary(&mut self, function: Ternary) -> Decoded {
        let (kind, to) = (self.kind()?, self.slot(0)?);
        Ok(Operation::Ternary { function, kind, to, a: self.source(1)?, b: self.source(2)?, c: self.source(3)? })
    }

    fn arithmetic(&mut self) -> Decoded {
        let nan = self.has("NaN");
        if self.has("sat") || self.has("satfinite") || self.has("xorsign") {
            return self.unsupported();
        }
        match self.mnemonic {
            "not" => self.unary(Unary::Not),
            "neg" => self.unary(Unary::Negate),
            "abs" => self.unary(Unary::Absolute),
            "rcp" => self.unary(Unary::Reciprocal),
            "sqrt" => self.unary(Unary::SquareRoot),
            "rsqrt" => self.unary(Unary::ReciprocalSquareRoot),
            "ex2" => self.unary(Unary::Exp2),
            "lg2" => self.unary(Unary::Log2),
            "sin" => self.unary(Unary::Sine),
            "cos" => self.unary(Unary::Cosine),
            "tanh" => self.unary(Unary::Tanh),
            "popc" => self.unary(Unary::CountOnes),
            "clz" => self.unary(Unary::LeadingZeros),
            "brev" => self.unary(Unary::ReverseBits),
            "mul" if self.has("hi") => self.binary(Binary::MultiplyHigh),
            "mul" if self.has("wide") => self.binary(Binary::MultiplyWide),
            "mul" => self.binary(Binary::MultiplyLow(self.rounding())),
            "div" => self.binary(Binary::Divide),
            "rem" => self.binary(Binary::Remainder),
            "min" => self.binary(Binary::Minimum { nan }),
            "max" => self.binary(Binary::Maximum { nan }),
            "and" => self.binary(Binary::And),
            "or" => self.binary(Binary::Or),
            "xor" => self.binary(Binary::Xor),
            "shl" => self.binary(Binary::ShiftLeft),
            "shr" => self.binary(Binary::ShiftRight),
            "copysign" => self.binary(Binary::CopySign),
            "fma" => self.ternary(Ternary::FusedMultiplyAdd(self.rounding())),
            "prmt" if self.modifiers == ["b32"] => self.ternary(Ternary::Permute),
            "dp4a" if self.modifiers == ["s32", "s32"] => self.ternary(Ternary::DotBytes),
            "bfe" => self.ternary(Ternary::ExtractBits),
            "shf" if self.has("l") => self.ternary(Ternary::FunnelLeft { wraps: self.has("wrap") }),
            "shf" if self.has("r") => self.ternary(Ternary::FunnelRight { wraps: self.has("wrap") }),
            _ => self.unsupported(),
        }
    }
}
