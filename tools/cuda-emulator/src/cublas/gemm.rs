//! What a product is: its operands and whether they are right.

use super::{Result, Status};
use crate::report::{Number, Op, Shape};

/// A batch of matrices in the device's memory, column by column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrices {
    pub(super) address: u64,
    pub(super) number: Number,
    /// As they lie in memory.
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Elements from one column to the next.
    pub(super) leading: usize,
    /// Elements from one matrix to the next.
    pub(super) stride: usize,
}

impl Matrices {
    /// Bytes from the first to the last element of the batch.
    pub(super) fn bytes(&self, batch: usize) -> Option<usize> {
        let last_column = self.columns.checked_sub(1)?.checked_mul(self.leading)?.checked_add(self.rows)?;
        let elements = self.stride.checked_mul(batch.checked_sub(1)?)?.checked_add(last_column)?;
        elements.checked_mul(self.number.bytes())
    }

    /// How many different matrices a batch has.
    fn distinct(&self, batch: usize) -> usize {
        if self.stride == 0 { 1 } else { batch }
    }
}

/// `c = alpha op(a) op(b) + beta c`.
#[derive(Debug, Clone)]
pub(super) struct Product {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) batch: usize,
    pub(super) ops: [Op; 2],
    pub(super) a: Matrices,
    pub(super) b: Matrices,
    pub(super) c: Matrices,
    pub(super) alpha: f64,
    pub(super) beta: f64,
    /// What the scalars are, and what sums are at least as exact as.
    pub(super) scalar: Number,
}

/// A matrix as a caller gives it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given {
    pub(super) address: u64,
    pub(super) number: Option<Number>,
    pub(super) leading: i32,
    pub(super) stride: i64,
}

/// Sizes as a caller gives them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) ops: [u32; 2],
    /// `m`, `n`, `k` and the batch.
    pub(super) sizes: [i32; 4],
}

impl Product {
    /// From what a caller gives: `a`, `b` and `c`, then what multiplies and what is added.
    pub(super) fn new(sizes: Sizes, given: [Given; 3], scalars: (f64, f64), scalar: Number) -> Result<Self> {
        let [m, n, k, batch] = sizes.sizes.map(usize::try_from);
        let bad = |_| Status::InvalidValue;
        let (m, n, k, batch) = (m.map_err(bad)?, n.map_err(bad)?, k.map_err(bad)?, batch.map_err(bad)?);
        let ops = [op(sizes.ops[0])?, op(sizes.ops[1])?];
        let lies = |op, rows, columns| if op == Op::N { (rows, columns) } else { (columns, rows) };
        let [a, b, c] = given;
        let (a, b, c) = (matrices(a, lies(ops[0], m, k))?, matrices(b, lies(ops[1], k, n))?, matrices(c, (m, n))?);
        Ok(Self { m, n, k, batch, ops, a, b, c, alpha: scalars.0, beta: scalars.1, scalar })
    }

    /// Whether cuBLAS takes it.
    pub(super) fn checked(self) -> Result<Self> {
        for matrices in [&self.a, &self.b, &self.c] {
            if matrices.leading < matrices.rows.max(1)
                || !matrices.address.is_multiple_of(matrices.number.bytes() as u64)
            {
                return Err(Status::InvalidValue);
            }
        }
        let [a, b, c] = [self.a.number, self.b.number, self.c.number];
        let supported = a == b
            && match self.scalar {
                Number::F64 => (a, c) == (Number::F64, Number::F64),
                Number::F32 => a != Number::F64 && (c == a || c == Number::F32),
                Number::F16 => (a, c) == (Number::F16, Number::F16),
                Number::Bf16 => false,
            };
        if supported { Ok(self) } else { Err(Status::NotSupported) }
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.m == 0 || self.n == 0 || self.batch == 0
    }

    /// Address and bytes of what is read and written; an operand's is none where there is nothing of it.
    pub(super) fn operands(&self) -> [(&'static str, Option<(u64, usize)>); 3] {
        let span = |matrices: &Matrices| {
            let has_some = matrices.rows > 0 && matrices.columns > 0;
            // What does not fit into an address space fits into no allocation.
            has_some.then(|| (matrices.address, matrices.bytes(self.batch).unwrap_or(usize::MAX)))
        };
        [
            ("the left operand of a product", span(&self.a)),
            ("the right operand of a product", span(&self.b)),
            ("the result of a product", span(&self.c)),
        ]
    }

    pub(super) fn shape(&self) -> Shape {
        Shape {
            m: self.m,
            n: self.n,
            k: self.k,
            batch: self.batch,
            ops: self.ops,
            numbers: [self.a.number, self.b.number, self.c.number],
            operands: [self.a.distinct(self.batch), self.b.distinct(self.batch)],
            adds: self.beta != 0.0,
        }
    }
}

fn matrices(given: Given, (rows, columns): (usize, usize)) -> Result<Matrices> {
    let leading = usize::try_from(given.leading).map_err(|_| Status::InvalidValue)?;
    let stride = usize::try_from(given.stride).map_err(|_| Status::InvalidValue)?;
    let number = given.number.ok_or(Status::NotSupported)?;
    Ok(Matrices { address: given.address, number, rows, columns, leading, stride })
}

/// The conjugate of a real matrix is itself.
fn op(number: u32) -> Result<Op> {
    match number {
        0 => Ok(Op::N),
        1 | 2 => Ok(Op::T),
        _ => Err(Status::InvalidValue),
    }
}
