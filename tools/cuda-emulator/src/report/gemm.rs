//! Matrix products by shape, and their costs.

use std::fmt;

/// Element type of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ElementType {
    F16,
    Bf16,
    F32,
    F64,
}

impl ElementType {
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

/// Whether an operand is transposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    N,
    T,
}

/// Shape of a matrix product `c = op(a) op(b)`, where `c` is `m` x `n`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct GemmShape {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) batch: usize,
    pub(crate) ops: [Op; 2],
    /// Element types of `a`, `b` and `c`.
    pub(crate) elements: [ElementType; 3],
    /// Number of different `a` and `b` in the batch: 1, or the batch size.
    pub(crate) operands: [usize; 2],
    /// Whether `c` is read (beta is not zero).
    pub(crate) accumulates: bool,
}

impl GemmShape {
    /// Floating-point operations of one call.
    pub(crate) fn flops(&self) -> f64 {
        2.0 * self.m as f64 * self.n as f64 * self.k as f64 * self.batch as f64
    }

    /// Minimum memory traffic of one call in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let [a, b, c] = self.elements.map(ElementType::bytes);
        let read = self.m * self.k * self.operands[0] * a + self.k * self.n * self.operands[1] * b;
        (read + self.m * self.n * self.batch * c * if self.accumulates { 2 } else { 1 }) as u64
    }

    /// Upper bound of an H200's throughput for the element type, in operations per second.
    pub(crate) fn peak_flops(&self) -> f64 {
        match self.elements[0] {
            ElementType::F16 | ElementType::Bf16 => 788e12,
            ElementType::F32 | ElementType::F64 => 67e12,
        }
    }
}

impl fmt::Display for GemmShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { m, n, k, batch, ops, elements, .. } = self;
        write!(f, "product {} m{m} n{n} k{k} x{batch} {:?}{:?}", elements[0].name(), ops[0], ops[1])?;
        if elements[2] != elements[0] {
            write!(f, " to {}", elements[2].name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flops_and_bytes_follow_from_the_shape() {
        let shape = GemmShape {
            m: 3,
            n: 5,
            k: 7,
            batch: 2,
            ops: [Op::T, Op::N],
            elements: [ElementType::Bf16, ElementType::Bf16, ElementType::F32],
            operands: [1, 2],
            accumulates: false,
        };
        assert_eq!(shape.flops(), 420.0);
        assert_eq!(shape.bytes(), (3 * 7 * 2) + (7 * 5 * 2 * 2) + (3 * 5 * 2 * 4));
        assert_eq!(shape.to_string(), "product bf16 m3 n5 k7 x2 TN to f32");
    }
}
