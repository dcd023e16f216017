//! Matrix products on the host. Operands are converted to float32 (float64 for float64), accumulated in that type, and
//! rounded once to the result's type.

use gemm::Parallelism;
use half::{bf16, f16};

use super::gemm::{Gemm, MatrixBatch};
use crate::report::{ElementType, Op};

/// Number of multiply-adds from which a product is computed in parallel.
const LARGE: usize = 1 << 18;

/// Computes a product whose operands were checked to lie within allocations.
pub(super) fn compute(product: &Gemm) {
    match product.c.element {
        ElementType::F64 => multiply::<f64>(product),
        _ => multiply::<f32>(product),
    }
}

/// Type of the accumulators: float32 or float64.
trait Accumulator: Copy + 'static {
    const ZERO: Self;
    const ONE: Self;
    fn from_f64(value: f64) -> Self;
    fn to_f64(self) -> f64;
    /// Appends `count` elements starting at `address` to `to`.
    ///
    /// # Safety
    /// `address` is aligned and valid for reads of `count` elements of the type.
    unsafe fn read_elements(address: u64, element: ElementType, count: usize, to: &mut Vec<Self>);
    /// Returns `alpha x + beta y`, rounded after each operation.
    fn combine(alpha: Self, x: Self, beta: Self, y: Self) -> Self;
}

macro_rules! accumulator {
    ($type:ty) => {
        impl Accumulator for $type {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;

            fn from_f64(value: f64) -> Self {
                value as Self
            }

            fn to_f64(self) -> f64 {
                f64::from(self)
            }

            unsafe fn read_elements(address: u64, element: ElementType, count: usize, to: &mut Vec<Self>) {
                // SAFETY: the caller guarantees `count` readable, aligned elements of `element`, the type that the
                // matching arm reads.
                unsafe {
                    match element {
                        ElementType::F16 => {
                            to.extend(slice::<f16>(address, count).iter().map(|x| Self::from(x.to_f32())))
                        }
                        ElementType::Bf16 => {
                            to.extend(slice::<bf16>(address, count).iter().map(|x| Self::from(x.to_f32())))
                        }
                        ElementType::F32 => to.extend(slice::<f32>(address, count).iter().map(|x| *x as Self)),
                        ElementType::F64 => to.extend(slice::<f64>(address, count).iter().map(|x| *x as Self)),
                    }
                }
            }

            fn combine(alpha: Self, x: Self, beta: Self, y: Self) -> Self {
                alpha * x + beta * y
            }
        }
    };
}

accumulator!(f32);
accumulator!(f64);

/// # Safety
/// `address` is aligned and valid for reads of `count` values of `T`, which are not written during `'a`.
unsafe fn slice<'a, T>(address: u64, count: usize) -> &'a [T] {
    // SAFETY: the caller guarantees alignment, validity and the absence of writes during `'a`.
    unsafe { std::slice::from_raw_parts(address as *const T, count) }
}

/// Copies one matrix of a batch to `to`, column-major without gaps.
fn pack<T: Accumulator>(matrices: &MatrixBatch, index: usize, to: &mut Vec<T>) {
    to.clear();
    // An empty matrix may have any address.
    if matrices.rows == 0 {
        return;
    }
    to.reserve(matrices.rows * matrices.columns);
    for column in 0..matrices.columns {
        let element = index * matrices.stride + column * matrices.leading;
        let address = matrices.address + (element * matrices.element.bytes()) as u64;
        // SAFETY: the whole batch was checked to lie within one allocation with aligned elements, and the driver's lock
        // prevents concurrent writes.
        unsafe { T::read_elements(address, matrices.element, matrices.rows, to) };
    }
}

fn multiply<T: Accumulator>(product: &Gemm) {
    let (mut a, mut b, mut previous) = (Vec::<T>::new(), Vec::new(), Vec::new());
    let mut accumulators = vec![T::ZERO; product.m * product.n];
    for index in 0..product.batch {
        if index == 0 || product.a.stride > 0 {
            pack(&product.a, index, &mut a);
        }
        if index == 0 || product.b.stride > 0 {
            pack(&product.b, index, &mut b);
        }
        multiply_matrix(product, &a, &b, &mut accumulators);
        // With beta = 0 the result is not read, so it may hold NaN.
        if product.beta != 0.0 {
            pack(&product.c, index, &mut previous);
        }
        store(product, index, &accumulators, &previous);
    }
}

/// Computes `accumulators = op(a) op(b)`.
fn multiply_matrix<T: Accumulator>(product: &Gemm, a: &[T], b: &[T], accumulators: &mut [T]) {
    let (m, n, k) = (product.m, product.n, product.k);
    assert!(a.len() == m * k && b.len() == k * n && accumulators.len() == m * n);
    if k == 0 {
        return accumulators.fill(T::ZERO);
    }
    // Strides between columns and between rows.
    let steps = |op, rows: usize| if op == Op::N { (rows as isize, 1) } else { (1, rows as isize) };
    let ((a_column, a_row), (b_column, b_row)) =
        (steps(product.ops[0], product.a.rows), steps(product.ops[1], product.b.rows));
    let parallel = if m * n * k < LARGE { Parallelism::None } else { Parallelism::Rayon(0) };
    // SAFETY: the assertion above guarantees that the three slices have the m x n, m x k and k x n elements that the
    // strides address.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            accumulators.as_mut_ptr(),
            m as isize,
            1,
            false,
            a.as_ptr(),
            a_column,
            a_row,
            b.as_ptr(),
            b_column,
            b_row,
            T::ZERO,
            T::ONE,
            false,
            false,
            false,
            parallel,
        )
    }
}

fn store<T: Accumulator>(product: &Gemm, index: usize, accumulators: &[T], previous: &[T]) {
    let c = &product.c;
    let (alpha, beta) = (T::from_f64(product.alpha), T::from_f64(product.beta));
    for column in 0..c.columns {
        let element = index * c.stride + column * c.leading;
        let address = c.address + (element * c.element.bytes()) as u64;
        let at = column * c.rows;
        let result = |row: usize| {
            let y = if previous.is_empty() { T::ZERO } else { previous[at + row] };
            T::combine(alpha, accumulators[at + row], beta, y)
        };
        // SAFETY: the whole batch was checked to lie within one allocation with aligned elements, and no reference to
        // the result is held.
        unsafe {
            match c.element {
                ElementType::F16 => write(address, c.rows, |row| f16::from_f32(result(row).to_f64() as f32)),
                ElementType::Bf16 => write(address, c.rows, |row| bf16::from_f32(result(row).to_f64() as f32)),
                ElementType::F32 => write(address, c.rows, |row| result(row).to_f64() as f32),
                ElementType::F64 => write(address, c.rows, |row| result(row).to_f64()),
            }
        }
    }
}

/// # Safety
/// `address` is aligned and valid for writes of `count` values of `T`.
unsafe fn write<T>(address: u64, count: usize, value: impl Fn(usize) -> T) {
    for i in 0..count {
        // SAFETY: the caller guarantees `count` writable, aligned values, and `i < count`.
        unsafe { (address as *mut T).add(i).write(value(i)) };
    }
}
