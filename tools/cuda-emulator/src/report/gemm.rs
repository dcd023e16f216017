//! Matrix products by shape, and what they ask of a card.

use std::fmt;

/// What the elements of a matrix are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Number {
    F16,
    Bf16,
    F32,
    F64,
}

impl Number {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }
}

/// Whether a matrix is taken as it lies, column by column, or transposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    N,
    T,
}

/// Products that are alike: `c = op(a) op(b)`, with `c` of `m` rows and `n` columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) batch: usize,
    pub(crate) ops: [Op; 2],
    /// Of `a`, `b` and `c`.
    pub(crate) numbers: [Number; 3],
    /// How many different `a` and `b` a batch has: one, or as many as products.
    pub(crate) operands: [usize; 2],
    /// Whether `c` is read too.
    pub(crate) adds: bool,
}

impl Shape {
    /// Multiplications and additions of one call.
    pub(crate) fn flops(&self) -> f64 {
        2.0 * self.m as f64 * self.n as f64 * self.k as f64 * self.batch as f64
    }

    /// Bytes that one call has to read and write.
    pub(crate) fn bytes(&self) -> u64 {
        let [a, b, c] = self.numbers.map(Number::bytes);
        let read = self.m * self.k * self.operands[0] * a + self.k * self.n * self.operands[1] * b;
        (read + self.m * self.n * self.batch * c * if self.adds { 2 } else { 1 }) as u64
    }

    /// Operations a second that no H200 exceeds for these numbers.
    pub(crate) fn ceiling(&self) -> f64 {
        match self.numbers[0] {
            Number::F16 | Number::Bf16 => 788e12,
            Number::F32 | Number::F64 => 67e12,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { m, n, k, batch, ops, numbers, .. } = self;
        write!(f, "product {} m{m} n{n} k{k} x{batch} {:?}{:?}", numbers[0].name(), ops[0], ops[1])?;
        if numbers[2] != numbers[0] {
            write!(f, " to {}", numbers[2].name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_s_work_is_told() {
        let shape = Shape {
            m: 3,
            n: 5,
            k: 7,
            batch: 2,
            ops: [Op::T, Op::N],
            numbers: [Number::Bf16, Number::Bf16, Number::F32],
            operands: [1, 2],
            adds: false,
        };
        assert_eq!(shape.flops(), 420.0);
        assert_eq!(shape.bytes(), (3 * 7 * 2) + (7 * 5 * 2 * 2) + (3 * 5 * 2 * 4));
        assert_eq!(shape.to_string(), "product bf16 m3 n5 k7 x2 TN to f32");
    }
}
