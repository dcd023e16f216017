//! The text of a module: its variables, and its functions with their registers and labels.

use std::collections::HashMap;

use super::body::{Body, DYNAMIC_SHARED, Name};
use super::decode::operation;
use super::lexer::{Token, tokens};
use super::operand::{Operand, literal};
use super::{Argument, Function, PtxError, Slot, Type};

/// A module's functions, and its variables' addresses and sizes.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) functions: HashMap<String, Function>,
    pub(crate) variables: HashMap<String, (u64, usize)>,
}

/// A variable of the module, which all threads share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) bytes: usize,
    /// From the first byte on; the others are zero.
    pub(crate) initial: Vec<u8>,
}

/// Reads `text`. `place` gives each variable an address.
pub(crate) fn parse(text: &str, place: &mut dyn FnMut(&Variable) -> Result<u64, String>) -> Result<Parsed, PtxError> {
    let mut parser =
        Parser { tokens: tokens(text)?, at: 0, globals: HashMap::new(), shared: 0, parsed: Parsed::default() };
    while parser.at < parser.tokens.len() {
        parser.top(place)?;
    }
    Ok(parser.parsed)
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    globals: HashMap<&'a str, Name>,
    /// Bytes of shared memory that the module itself declares.
    shared: usize,
    parsed: Parsed,
}

/// A declared array or number.
struct Declared<'a> {
    name: &'a str,
    kind: Type,
    align: usize,
    /// `None` for `name[]`.
    elements: Option<usize>,
}

impl Declared<'_> {
    fn bytes(&self) -> usize {
        self.kind.bytes() * self.elements.unwrap_or(0)
    }
}

impl<'a> Parser<'a> {
    fn line(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(0, |token| token.line)
    }

    fn error<T>(&self, reason: impl Into<String>) -> Result<T, PtxError> {
        Err(PtxError { line: self.line(), reason: reason.into() })
    }

    fn wrong<T>(&self, result: Result<T, String>) -> Result<T, PtxError> {
        result.map_err(|reason| PtxError { line: self.line(), reason })
    }

    fn peek(&self) -> &'a str {
        self.tokens.get(self.at).map_or("", |token| token.text)
    }

    fn next(&mut self) -> &'a str {
        let text = self.peek();
        self.at += 1;
        text
    }

    fn take(&mut self, text: &str) -> bool {
        let is_there = self.peek() == text;
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, text: &str) -> Result<(), PtxError> {
        if self.take(text) { Ok(()) } else { self.error(format!("{} stands where {text} is expected", self.peek())) }
    }

    fn number(&mut self) -> Result<usize, PtxError> {
        let text = self.next();
        self.wrong(literal(text).map(|bits| bits as usize).ok_or_else(|| format!("{text} is not a number")))
    }

    fn skip_line(&mut self) {
        let line = self.line();
        while self.at < self.tokens.len() && self.line() == line {
            self.at += 1;
        }
    }

    fn top(&mut self, place: &mut dyn FnMut(&Variable) -> Result<u64, String>) -> Result<(), PtxError> {
        let mut is_extern = false;
        loop {
            match self.next() {
                ".visible" | ".weak" | ".common" => {}
                ".extern" => is_extern = true,
                ".version" | ".target" | ".address_size" | ".file" => {
                    self.at -= 1;
                    self.skip_line();
                    return Ok(());
                }
                ".global" | ".const" => return self.variable(is_extern, place),
                ".shared" => {
                    let declared = self.declared()?;
                    let at = if is_extern { DYNAMIC_SHARED } else { grow(&mut self.shared, &declared) as u64 };
                    self.globals.insert(declared.name, Name::Shared(at));
                    return self.expect(";");
                }
                kind @ (".entry" | ".func") => return self.function(kind == ".entry"),
                other => {
                    self.at -= 1;
                    return self.error(format!("{other} is not known at the top of a module"));
                }
            }
        }
    }

    fn declared(&mut self) -> Result<Declared<'a>, PtxError> {
        let (mut kind, mut align) = (None, 1);
        while self.peek().starts_with('.') {
            match self.next() {
                ".align" => align = self.number()?,
                ".ptr" | ".global" => {}
                ".noreturn" => {}
                name => match Type::named(&name[1..]) {
                    Some(named) => kind = Some(named),
                    None => return self.error(format!("{name} is not a type")),
                },
            }
        }
        let Some(kind) = kind else { return self.error("a declaration has no type") };
        let name = self.next();
        let elements = if !self.take("[") {
            Some(1)
        } else if self.take("]") {
            None
        } else {
            let count = self.number()?;
            self.expect("]")?;
            Some(count)
        };
        Ok(Declared { name, kind, align: align.max(kind.bytes()), elements })
    }

    fn variable(
        &mut self,
        is_extern: bool,
        place: &mut dyn FnMut(&Variable) -> Result<u64, String>,
    ) -> Result<(), PtxError> {
        let declared = self.declared()?;
        if is_extern {
            return self.error(format!("{} is in another module", declared.name));
        }
        let mut initial = Vec::new();
        if self.take("=") {
            let size = declared.kind.bytes();
            let _ = self.take("{");
            while !matches!(self.peek(), "}" | ";") {
                let number = self.number()? as u64;
                initial.extend_from_slice(&number.to_le_bytes()[..size]);
                let _ = self.take(",");
            }
            let _ = self.take("}");
        }
        let variable = Variable { bytes: declared.bytes(), initial };
        let address = self.wrong(place(&variable))?;
        self.globals.insert(declared.name, Name::Global(address));
        self.parsed.variables.insert(declared.name.into(), (address, variable.bytes));
        self.expect(";")
    }

    fn function(&mut self, is_kernel: bool) -> Result<(), PtxError> {
        let mut body =
            Body::new(Function { is_kernel, shared: self.shared, ..Function::default() }, self.globals.clone());
        if self.peek() == "(" {
            body.function.results = self.parameters(&mut body)?;
        }
        body.function.name = self.next().into();
        if self.peek() == "(" {
            if is_kernel {
                self.arguments(&mut body)?;
            } else {
                body.function.takes = self.parameters(&mut body)?;
            }
        }
        loop {
            match self.peek() {
                // A declaration, of a function that comes later or of one of the driver's own.
                ";" => {
                    self.at += 1;
                    return Ok(());
                }
                "{" => break,
                ".maxntid" | ".reqntid" => {
                    self.at += 1;
                    let mut threads = self.number()?;
                    while self.take(",") {
                        threads *= self.number()?;
                    }
                    body.function.max_threads = Some(threads as u32);
                }
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.statements(&mut body)?;
        let function = body.finish()?;
        self.parsed.functions.insert(function.name.clone(), function);
        Ok(())
    }

    /// Results or parameters of a function that is called.
    fn parameters(&mut self, body: &mut Body<'a>) -> Result<Vec<usize>, PtxError> {
        self.expect("(")?;
        let mut numbers = Vec::new();
        while !self.take(")") {
            self.expect(".param")?;
            numbers.push(body.parameter(self.declared()?.name));
            let _ = self.take(",");
        }
        Ok(numbers)
    }

    fn arguments(&mut self, body: &mut Body<'a>) -> Result<(), PtxError> {
        self.expect("(")?;
        let mut end = 0;
        while !self.take(")") {
            self.expect(".param")?;
            let declared = self.declared()?;
            let offset = grow(&mut end, &declared);
            body.function.arguments.push(Argument { offset, bytes: declared.bytes() });
            body.name(declared.name, Name::Argument(offset));
            let _ = self.take(",");
        }
        Ok(())
    }

    /// Up to the brace that closes the function.
    fn statements(&mut self, body: &mut Body<'a>) -> Result<(), PtxError> {
        let mut depth = 0;
        loop {
            match self.peek() {
                "" => return self.error("a function has no end"),
                "{" => {
                    self.at += 1;
                    depth += 1;
                    body.open();
                }
                "}" => {
                    self.at += 1;
                    if depth == 0 {
                        return Ok(());
                    }
                    depth -= 1;
                    body.close();
                }
                ";" => self.at += 1,
                ".loc" => self.skip_line(),
                ".pragma" => while self.next() != ";" {},
                ".reg" => self.registers(body)?,
                ".local" | ".shared" | ".param" => self.local(body)?,
                word if self.tokens.get(self.at + 1).is_some_and(|token| token.text == ":") => {
                    self.at += 2;
                    body.label(word);
                }
                _ => self.instruction(body)?,
            }
        }
    }

    fn registers(&mut self, body: &mut Body<'a>) -> Result<(), PtxError> {
        self.at += 1;
        let kind = self.next();
        if Type::named(kind.trim_start_matches('.')).is_none() {
            return self.error(format!("{kind} is not a type"));
        }
        while !self.take(";") {
            let name = self.next();
            if self.take("<") {
                let count = self.number()? as u32;
                self.expect(">")?;
                body.registers(name, count);
            } else {
                body.register(name);
            }
            let _ = self.take(",");
        }
        Ok(())
    }

    fn local(&mut self, body: &mut Body<'a>) -> Result<(), PtxError> {
        let space = self.next();
        let declared = self.declared()?;
        let what = match space {
            ".local" => Name::Local(grow(&mut body.function.local, &declared)),
            ".shared" => Name::Shared(grow(&mut body.function.shared, &declared) as u64),
            _ => {
                body.parameter(declared.name);
                return self.expect(";");
            }
        };
        body.name(declared.name, what);
        self.expect(";")
    }

    fn instruction(&mut self, body: &mut Body<'a>) -> Result<(), PtxError> {
        let line = self.line();
        let guard = self.guard(body)?;
        let opcode = self.next();
        let mut operands = Vec::new();
        while !self.take(";") {
            operands.push(self.operand()?);
            let _ = self.take(",");
            if self.at >= self.tokens.len() {
                return self.error("an instruction has no end");
            }
        }
        let operation = operation(opcode, &operands, body, line)
            .map_err(|reason| PtxError { line, reason: format!("{opcode}: {reason}") })?;
        body.push(guard, operation, line);
        Ok(())
    }

    fn guard(&mut self, body: &Body<'a>) -> Result<Option<(Slot, bool)>, PtxError> {
        if !self.take("@") {
            return Ok(None);
        }
        let must_be = !self.take("!");
        let name = self.next();
        self.wrong(body.slot(name)).map(|slot| Some((slot, must_be)))
    }

    fn operand(&mut self) -> Result<Operand<'a>, PtxError> {
        Ok(match self.next() {
            "-" => Operand::Negative(self.next()),
            "!" => Operand::Not(self.next()),
            "{" => {
                let mut parts = Vec::new();
                while !self.take("}") {
                    parts.push(self.operand()?);
                    let _ = self.take(",");
                }
                Operand::Vector(parts)
            }
            "(" => {
                let mut parts = Vec::new();
                while !self.take(")") {
                    parts.push(self.next());
                    let _ = self.take(",");
                }
                Operand::List(parts)
            }
            "[" => {
                let base = self.next();
                let sign = self.next();
                let offset = match sign {
                    "]" => return Ok(Operand::Address(base, 0)),
                    "+" | "-" => {
                        let minus = self.take("-") != (sign == "-");
                        let bytes = self.number()? as i64;
                        if minus { -bytes } else { bytes }
                    }
                    other => return self.error(format!("{other} in an address")),
                };
                self.expect("]")?;
                Operand::Address(base, offset)
            }
            word if self.take("|") => Operand::Pair(word, self.next()),
            "" => return self.error("an instruction has no end"),
            word => Operand::Word(word),
        })
    }
}

/// Room for what is declared, behind `end`; its first byte.
fn grow(end: &mut usize, declared: &Declared) -> usize {
    let at = end.next_multiple_of(declared.align);
    *end = at + declared.bytes();
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ptx::{Operation, Source};

    fn parse_at(text: &str) -> Result<Parsed, PtxError> {
        parse(text, &mut |_| Ok(4096))
    }

    #[test]
    fn a_kernel_s_arguments_lie_as_the_driver_packs_them() {
        let text = ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u32 a, .param .u64 b, .param .align 4 .b8 c[12]) {
            .reg .b32 %r<3>; .shared .align 16 .b8 s[48];
            ld.param.u32 %r1, [c+4];
            $L: @%p bra $L; ret; }";
        let error = parse_at(text).unwrap_err();
        assert_eq!((error.line, error.reason.as_str()), (7, "%p is not a register"));
        let parsed = parse_at(&text.replace(".reg .b32 %r<3>;", ".reg .b32 %r<3>; .reg .pred %p;")).unwrap();
        let kernel = &parsed.functions["k"];
        let offsets: Vec<_> = kernel.arguments.iter().map(|argument| (argument.offset, argument.bytes)).collect();
        assert_eq!((offsets, kernel.shared), (vec![(0, 4), (8, 8), (16, 12)], 48));
        assert_eq!(kernel.instructions[1].operation, Operation::Branch(1));
        let Operation::Load { base: Source::Constant(16), offset: 4, .. } = kernel.instructions[0].operation else {
            panic!("{:?}", kernel.instructions[0])
        };
    }

    #[test]
    fn a_variable_keeps_its_bytes() {
        let mut seen = Vec::new();
        let text = ".global .align 4 .b8 table[8] = {1, 2, 255};\n.extern .func __assertfail (.param .b64 a);";
        let parsed = parse(text, &mut |variable| {
            seen.push(variable.clone());
            Ok(4096)
        });
        assert_eq!(parsed.unwrap().variables["table"], (4096, 8));
        assert_eq!(seen, [Variable { bytes: 8, initial: vec![1, 2, 255] }]);
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_line() {
        for (text, reason) in [
            (".visible .entry k() {\n frobnicate.b32 ; ret; }", "frobnicate.b32"),
            (".visible .entry k() {\n bra nowhere; }", "nowhere"),
            (".visible .entry k() {\n ret;", "no end"),
            ("\nhello", "hello"),
        ] {
            let error = parse_at(text).unwrap_err();
            assert!(error.line == 2 && error.reason.contains(reason), "{error}");
        }
    }
}
