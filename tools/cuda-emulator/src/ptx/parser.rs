//! Parser of a module: variables and functions.

use std::collections::HashMap;

use super::body::{Body, DYNAMIC_SHARED, Symbol};
use super::decode::operation;
use super::lexer::{Token, tokens};
use super::operand::{Operand, literal};
use super::{Argument, Function, PtxError, Slot, Type};

/// Functions of a module, and addresses and sizes of its variables.
#[derive(Debug, Default)]
pub(crate) struct ParsedModule {
    pub(crate) functions: HashMap<String, Function>,
    pub(crate) variables: HashMap<String, (u64, usize)>,
}

/// A global variable of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) bytes: usize,
    /// Initial bytes; the remaining bytes are zero.
    pub(crate) initial: Vec<u8>,
}

/// Parses `text`. `allocate` allocates a variable and returns its address.
pub(crate) fn parse(
    text: &str,
    allocate: &mut dyn FnMut(&Variable) -> Result<u64, String>,
) -> Result<ParsedModule, PtxError> {
    let mut parser =
        Parser { tokens: tokens(text)?, at: 0, globals: HashMap::new(), shared: 0, parsed: ParsedModule::default() };
    while parser.at < parser.tokens.len() {
        parser.module_item(allocate)?;
    }
    Ok(parser.parsed)
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    globals: HashMap<&'a str, Symbol>,
    /// Bytes of shared memory declared at module level.
    shared: usize,
    parsed: ParsedModule,
}

/// A declaration of a variable, argument or parameter.
struct Declaration<'a> {
    name: &'a str,
    kind: Type,
    align: usize,
    /// `None` for `name[]`.
    elements: Option<usize>,
}

impl Declaration<'_> {
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

    fn at_line<T>(&self, result: Result<T, String>) -> Result<T, PtxError> {
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
        if self.take(text) { Ok(()) } else { self.error(format!("expected {text}, found {}", self.peek())) }
    }

    fn number(&mut self) -> Result<usize, PtxError> {
        let text = self.next();
        self.at_line(literal(text).map(|bits| bits as usize).ok_or_else(|| format!("expected a literal, found {text}")))
    }

    fn skip_line(&mut self) {
        let line = self.line();
        while self.at < self.tokens.len() && self.line() == line {
            self.at += 1;
        }
    }

    fn module_item(&mut self, allocate: &mut dyn FnMut(&Variable) -> Result<u64, String>) -> Result<(), PtxError> {
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
                ".global" | ".const" => return self.variable(is_extern, allocate),
                ".shared" => {
                    let declared = self.declaration()?;
                    let at = if is_extern { DYNAMIC_SHARED } else { reserve(&mut self.shared, &declared) as u64 };
                    self.globals.insert(declared.name, Symbol::Shared(at));
                    return self.expect(";");
                }
                kind @ (".entry" | ".func") => return self.function(kind == ".entry"),
                other => {
                    self.at -= 1;
                    return self.error(format!("unsupported module-level directive {other}"));
                }
            }
        }
    }

    fn declaration(&mut self) -> Result<Declaration<'a>, PtxError> {
        let (mut kind, mut align) = (None, 1);
        while self.peek().starts_with('.') {
            match self.next() {
                ".align" => align = self.number()?,
                ".ptr" | ".global" => {}
                ".noreturn" => {}
                name => match Type::from_name(&name[1..]) {
                    Some(named) => kind = Some(named),
                    None => return self.error(format!("unsupported type {name}")),
                },
            }
        }
        let Some(kind) = kind else { return self.error("missing type in a declaration") };
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
        Ok(Declaration { name, kind, align: align.max(kind.bytes()), elements })
    }

    fn variable(
        &mut self,
        is_extern: bool,
        allocate: &mut dyn FnMut(&Variable) -> Result<u64, String>,
    ) -> Result<(), PtxError> {
        let declared = self.declaration()?;
        if is_extern {
            return self.error(format!("external variable {} is not supported", declared.name));
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
        let address = self.at_line(allocate(&variable))?;
        self.globals.insert(declared.name, Symbol::Global(address));
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
                body.function.inputs = self.parameters(&mut body)?;
            }
        }
        loop {
            match self.peek() {
                // A declaration of a function that is defined later or built in.
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

    /// Parses the results or inputs of a device function.
    fn parameters(&mut self, body: &mut Body<'a>) -> Result<Vec<usize>, PtxError> {
        self.expect("(")?;
        let mut numbers = Vec::new();
        while !self.take(")") {
            self.expect(".param")?;
            numbers.push(body.define_parameter(self.declaration()?.name));
            let _ = self.take(",");
        }
        Ok(numbers)
    }

    fn arguments(&mut self, body: &mut Body<'a>) -> Result<(), PtxError> {
        self.expect("(")?;
        let mut end = 0;
        while !self.take(")") {
            self.expect(".param")?;
            let declared = self.declaration()?;
            let offset = reserve(&mut end, &declared);
            body.function.arguments.push(Argument { offset, bytes: declared.bytes() });
            body.define(declared.name, Symbol::Argument(offset));
            let _ = self.take(",");
        }
        Ok(())
    }

    /// Parses statements up to the brace that closes the function.
    fn statements(&mut self, body: &mut Body<'a>) -> Result<(), PtxError> {
        let mut depth = 0;
        loop {
            match self.peek() {
                "" => return self.error("unterminated function"),
                "{" => {
                    self.at += 1;
                    depth += 1;
                    body.open_scope();
                }
                "}" => {
                    self.at += 1;
                    if depth == 0 {
                        return Ok(());
                    }
                    depth -= 1;
                    body.close_scope();
                }
                ";" => self.at += 1,
                ".loc" => self.skip_line(),
                ".pragma" => while self.next() != ";" {},
                ".reg" => self.registers(body)?,
                ".local" | ".shared" | ".param" => self.local(body)?,
                word if self.tokens.get(self.at + 1).is_some_and(|token| token.text == ":") => {
                    self.at += 2;
                    body.define_label(word);
                }
                _ => self.instruction(body)?,
            }
        }
    }

    fn registers(&mut self, body: &mut Body<'a>) -> Result<(), PtxError> {
        self.at += 1;
        let kind = self.next();
        if Type::from_name(kind.trim_start_matches('.')).is_none() {
            return self.error(format!("unsupported type {kind}"));
        }
        while !self.take(";") {
            let name = self.next();
            if self.take("<") {
                let count = self.number()? as u32;
                self.expect(">")?;
                body.define_registers(name, count);
            } else {
                body.define_register(name);
            }
            let _ = self.take(",");
        }
        Ok(())
    }

    fn local(&mut self, body: &mut Body<'a>) -> Result<(), PtxError> {
        let space = self.next();
        let declared = self.declaration()?;
        let what = match space {
            ".local" => Symbol::Local(reserve(&mut body.function.local, &declared)),
            ".shared" => Symbol::Shared(reserve(&mut body.function.shared, &declared) as u64),
            _ => {
                body.define_parameter(declared.name);
                return self.expect(";");
            }
        };
        body.define(declared.name, what);
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
                return self.error("unterminated instruction");
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
        self.at_line(body.slot(name)).map(|slot| Some((slot, must_be)))
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
                    other => return self.error(format!("unexpected {other} in an address")),
                };
                self.expect("]")?;
                Operand::Address(base, offset)
            }
            word if self.take("|") => Operand::Pair(word, self.next()),
            "" => return self.error("unterminated instruction"),
            word => Operand::Word(word),
        })
    }
}

/// Reserves space for a declaration at the end of a memory section, and returns its offset.
fn reserve(end: &mut usize, declared: &Declaration) -> usize {
    let at = end.next_multiple_of(declared.align);
    *end = at + declared.bytes();
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ptx::{Operation, Source};

    fn parse_at(text: &str) -> Result<ParsedModule, PtxError> {
        parse(text, &mut |_| Ok(4096))
    }

    #[test]
    fn kernel_arguments_are_laid_out_like_a_c_struct() {
        let text = ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u32 a, .param .u64 b, .param .align 4 .b8 c[12]) {
            .reg .b32 %r<3>; .shared .align 16 .b8 s[48];
            ld.param.u32 %r1, [c+4];
            $L: @%p bra $L; ret; }";
        let error = parse_at(text).unwrap_err();
        assert_eq!((error.line, error.reason.as_str()), (7, "expected a register, found %p"));
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
    fn variables_keep_their_initial_bytes() {
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
    fn errors_name_the_line_and_the_cause() {
        for (text, reason) in [
            (".visible .entry k() {\n frobnicate.b32 ; ret; }", "frobnicate.b32"),
            (".visible .entry k() {\n bra nowhere; }", "nowhere"),
            (".visible .entry k() {\n ret;", "unterminated"),
            ("\nhello", "hello"),
        ] {
            let error = parse_at(text).unwrap_err();
            assert!(error.line == 2 && error.reason.contains(reason), "{error}");
        }
    }
}
