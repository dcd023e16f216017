//! Operands.

/// Index of a register within its function.
pub(crate) type Slot = u32;

/// Source of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Source {
    Register(Slot),
    /// A value as stored in a register.
    Constant(u64),
    Special(Special),
}

/// Special registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    /// `%tid`, by axis.
    ThreadIndex(usize),
    /// `%ntid`, by axis.
    BlockSize(usize),
    /// `%ctaid`, by axis.
    BlockIndex(usize),
    /// `%nctaid`, by axis.
    GridSize(usize),
    Lane,
    Warp,
}

impl Special {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let axis = |rest: &str| ["x", "y", "z"].iter().position(|axis| *axis == rest);
        let (name, rest) = name.strip_prefix('%')?.split_once('.').unwrap_or((&name[1..], ""));
        Some(match (name, axis(rest)) {
            ("tid", Some(axis)) => Self::ThreadIndex(axis),
            ("ntid", Some(axis)) => Self::BlockSize(axis),
            ("ctaid", Some(axis)) => Self::BlockIndex(axis),
            ("nctaid", Some(axis)) => Self::GridSize(axis),
            ("laneid", None) => Self::Lane,
            ("warpid", None) => Self::Warp,
            _ => return None,
        })
    }
}

/// An operand as written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand<'a> {
    /// An identifier or a literal.
    Word(&'a str),
    /// A negated literal.
    Negative(&'a str),
    /// `!%p1`.
    Not(&'a str),
    /// `{%r1, %r2}`.
    Vector(Vec<Operand<'a>>),
    /// `[base+offset]`.
    Address(&'a str, i64),
    /// `%r1|%p1`.
    Pair(&'a str, &'a str),
    /// `(a, b)` of a call.
    List(Vec<&'a str>),
}

/// Parses a literal: an integer, `0f3F800000` or `0d3FF0000000000000`.
pub(super) fn literal(text: &str) -> Option<u64> {
    let hexadecimal = |prefix: [&str; 2]| prefix.iter().find_map(|prefix| text.strip_prefix(prefix));
    let digits = |digits: &str, radix| u64::from_str_radix(digits.trim_end_matches(['U', 'u']), radix).ok();
    if let Some(bits) = hexadecimal(["0f", "0F"]) {
        return (bits.len() == 8).then(|| digits(bits, 16))?;
    }
    if let Some(bits) = hexadecimal(["0d", "0D"]) {
        return (bits.len() == 16).then(|| digits(bits, 16))?;
    }
    match hexadecimal(["0x", "0X"]) {
        Some(bits) => digits(bits, 16),
        None if text.starts_with(|c: char| c.is_ascii_digit()) => digits(text, 10),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_parsed_exactly() {
        assert_eq!(literal("0f3F800000").map(|bits| f32::from_bits(bits as u32)), Some(1.0));
        assert_eq!(literal("0d3FF0000000000000").map(f64::from_bits), Some(1.0));
        assert_eq!((literal("0X25CFU"), literal("42"), literal("name")), (Some(0x25cf), Some(42), None));
    }

    #[test]
    fn special_registers_are_parsed_with_their_axis() {
        assert_eq!(Special::from_name("%ctaid.y"), Some(Special::BlockIndex(1)));
        assert_eq!(Special::from_name("%laneid"), Some(Special::Lane));
        assert_eq!((Special::from_name("%r1"), Special::from_name("%tid")), (None, None));
    }
}
