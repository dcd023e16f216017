//! What instructions work on.

/// A register's number in its function.
pub(crate) type Slot = u32;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Source {
    Register(Slot),
    /// Bits as they would be in a register.
    Constant(u64),
    Special(Special),
}

/// What a thread can read of its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    /// Thread in its block, by axis.
    Thread(usize),
    /// Threads of a block.
    Threads(usize),
    /// Block in the grid.
    Block(usize),
    /// Blocks of the grid.
    Blocks(usize),
    Lane,
    Warp,
}

impl Special {
    pub(super) fn named(name: &str) -> Option<Self> {
        let axis = |rest: &str| ["x", "y", "z"].iter().position(|axis| *axis == rest);
        let (name, rest) = name.strip_prefix('%')?.split_once('.').unwrap_or((&name[1..], ""));
        Some(match (name, axis(rest)) {
            ("tid", Some(axis)) => Self::Thread(axis),
            ("ntid", Some(axis)) => Self::Threads(axis),
            ("ctaid", Some(axis)) => Self::Block(axis),
            ("nctaid", Some(axis)) => Self::Blocks(axis),
            ("laneid", None) => Self::Lane,
            ("warpid", None) => Self::Warp,
            _ => return None,
        })
    }
}

/// An operand as it stands in the text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand<'a> {
    /// A name or a number.
    Word(&'a str),
    /// A number behind a minus.
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

/// The bits of a literal: integers, `0f3F800000`, `0d3FF0000000000000`.
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
    fn literals_are_read_to_the_bit() {
        assert_eq!(literal("0f3F800000").map(|bits| f32::from_bits(bits as u32)), Some(1.0));
        assert_eq!(literal("0d3FF0000000000000").map(f64::from_bits), Some(1.0));
        assert_eq!((literal("0X25CFU"), literal("42"), literal("name")), (Some(0x25cf), Some(42), None));
    }

    #[test]
    fn special_registers_have_axes() {
        assert_eq!(Special::named("%ctaid.y"), Some(Special::Block(1)));
        assert_eq!(Special::named("%laneid"), Some(Special::Lane));
        assert_eq!((Special::named("%r1"), Special::named("%tid")), (None, None));
    }
}
