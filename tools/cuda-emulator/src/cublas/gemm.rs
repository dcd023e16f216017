//! Arguments of a matrix product and their validation.

use super::status::{CublasStatus, Result};
use crate::report::{ElementType, GemmShape, Op};

/// A batch of column-major matrices in device memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct MatrixBatch {
    pub(super) address: u64,
    pub(super) element: ElementType,
    /// Rows as stored, before a transposition.
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Elements between columns (leading dimension).
    pub(super) leading: usize,
    /// Elements between matrices.
    pub(super) stride: usize,
}

impl MatrixBatch {
    /// Bytes from the first to the last element of the batch, or `None` on overflow.
    pub(super) fn bytes(&self, batch: usize) -> Option<usize> {
        let last_column = self.columns.checked_sub(1)?.checked_mul(self.leading)?.checked_add(self.rows)?;
        let elements = self.stride.checked_mul(batch.checked_sub(1)?)?.checked_add(last_column)?;
        elements.checked_mul(self.element.bytes())
    }

    /// Number of different matrices in the batch.
    fn distinct(&self, batch: usize) -> usize {
        if self.stride == 0 { 1 } else { batch }
    }
}

/// `c = alpha op(a) op(b) + beta c`.
#[derive(Debug, Clone)]
pub(super) struct Gemm {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) batch: usize,
    pub(super) ops: [Op; 2],
    pub(super) a: MatrixBatch,
    pub(super) b: MatrixBatch,
    pub(super) c: MatrixBatch,
    pub(super) alpha: f64,
    pub(super) beta: f64,
    /// Type of the scalars. Accumulation is at least as precise.
    pub(super) scalar: ElementType,
}

/// Matrix arguments as passed by the caller.
#[derive(Debug, Clone, Copy)]
pub(super) struct MatrixArguments {
    pub(super) address: u64,
    pub(super) element: Option<ElementType>,
    pub(super) leading: i32,
    pub(super) stride: i64,
}

/// Size arguments as passed by the caller.
#[derive(Debug, Clone, Copy)]
pub(super) struct SizeArguments {
    pub(super) ops: [u32; 2],
    /// `m`, `n`, `k` and the batch size.
    pub(super) sizes: [i32; 4],
}

impl Gemm {
    /// Converts the caller's arguments: matrices `a`, `b` and `c`, and scalars `alpha` and `beta`.
    pub(super) fn new(
        sizes: SizeArguments,
        arguments: [MatrixArguments; 3],
        scalars: (f64, f64),
        scalar: ElementType,
    ) -> Result<Self> {
        let [m, n, k, batch] = sizes.sizes.map(usize::try_from);
        let bad = |_| CublasStatus::InvalidValue;
        let (m, n, k, batch) = (m.map_err(bad)?, n.map_err(bad)?, k.map_err(bad)?, batch.map_err(bad)?);
        let ops = [op(sizes.ops[0])?, op(sizes.ops[1])?];
        let stored_size = |op, rows, columns| if op == Op::N { (rows, columns) } else { (columns, rows) };
        let [a, b, c] = arguments;
        let (a, b, c) = (
            matrix_batch(a, stored_size(ops[0], m, k))?,
            matrix_batch(b, stored_size(ops[1], k, n))?,
            matrix_batch(c, (m, n))?,
        );
        Ok(Self { m, n, k, batch, ops, a, b, c, alpha: scalars.0, beta: scalars.1, scalar })
    }

    /// Checks leading dimensions, alignment and the combination of types as cuBLAS does.
    pub(super) fn validated(self) -> Result<Self> {
        for matrices in [&self.a, &self.b, &self.c] {
            if matrices.leading < matrices.rows.max(1)
                || !matrices.address.is_multiple_of(matrices.element.bytes() as u64)
            {
                return Err(CublasStatus::InvalidValue);
            }
        }
        let [a, b, c] = [self.a.element, self.b.element, self.c.element];
        let supported = a == b
            && match self.scalar {
                ElementType::F64 => (a, c) == (ElementType::F64, ElementType::F64),
                ElementType::F32 => a != ElementType::F64 && (c == a || c == ElementType::F32),
                ElementType::F16 => (a, c) == (ElementType::F16, ElementType::F16),
                ElementType::Bf16 => false,
            };
        if supported { Ok(self) } else { Err(CublasStatus::NotSupported) }
    }

    /// Whether the result has no elements.
    pub(super) fn is_empty(&self) -> bool {
        self.m == 0 || self.n == 0 || self.batch == 0
    }

    /// Returns name, address and size of each operand; the range is `None` for an empty operand.
    pub(super) fn operands(&self) -> [(&'static str, Option<(u64, usize)>); 3] {
        let span = |matrices: &MatrixBatch| {
            let has_some = matrices.rows > 0 && matrices.columns > 0;
            // A range that overflows the address space fits in no allocation.
            has_some.then(|| (matrices.address, matrices.bytes(self.batch).unwrap_or(usize::MAX)))
        };
        [
            ("operand A of a matrix product", span(&self.a)),
            ("operand B of a matrix product", span(&self.b)),
            ("result C of a matrix product", span(&self.c)),
        ]
    }

    pub(super) fn shape(&self) -> GemmShape {
        GemmShape {
            m: self.m,
            n: self.n,
            k: self.k,
            batch: self.batch,
            ops: self.ops,
            elements: [self.a.element, self.b.element, self.c.element],
            operands: [self.a.distinct(self.batch), self.b.distinct(self.batch)],
            accumulates: self.beta != 0.0,
        }
    }
}

fn matrix_batch(arguments: MatrixArguments, (rows, columns): (usize, usize)) -> Result<MatrixBatch> {
    let leading = usize::try_from(arguments.leading).map_err(|_| CublasStatus::InvalidValue)?;
    let stride = usize::try_from(arguments.stride).map_err(|_| CublasStatus::InvalidValue)?;
    let element = arguments.element.ok_or(CublasStatus::NotSupported)?;
    Ok(MatrixBatch { address: arguments.address, element, rows, columns, leading, stride })
}

/// Converts a `cublasOperation_t`. The conjugate transpose of a real matrix is its transpose.
fn op(element: u32) -> Result<Op> {
    match element {
        0 => Ok(Op::N),
        1 | 2 => Ok(Op::T),
        _ => Err(CublasStatus::InvalidValue),
    }
}
