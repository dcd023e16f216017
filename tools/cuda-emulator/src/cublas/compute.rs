//! Products on the host: operands as float32 (or float64), summed in that, rounded once to what the result holds.

use gemm::Parallelism;
use half::{bf16, f16};

use super::product::{Matrices, Product};
use crate::report::{Number, Op};

/// Multiplications from which on both of a small machine's cores are worth starting.
const LARGE: usize = 1 << 18;

/// Computes a product whose operands were checked to lie in the device's memory.
pub(super) fn compute(product: &Product) {
    match product.c.number {
        Number::F64 => multiply::<f64>(product),
        _ => multiply::<f32>(product),
    }
}

/// What is summed in.
trait Sum: Copy + 'static {
    const ZERO: Self;
    const ONE: Self;
    fn of(value: f64) -> Self;
    fn value(self) -> f64;
    /// `count` numbers from `address` on.
    ///
    /// # Safety
    /// They lie there, aligned.
    unsafe fn read(address: u64, number: Number, count: usize, to: &mut Vec<Self>);
    /// `alpha x + beta y`, with one rounding at most for each step.
    fn combine(alpha: Self, x: Self, beta: Self, y: Self) -> Self;
}

macro_rules! sum {
    ($type:ty) => {
        impl Sum for $type {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;

            fn of(value: f64) -> Self {
                value as Self
            }

            fn value(self) -> f64 {
                f64::from(self)
            }

            unsafe fn read(address: u64, number: Number, count: usize, to: &mut Vec<Self>) {
                // SAFETY: as the caller says.
                unsafe {
                    match number {
                        Number::F16 => to.extend(numbers::<f16>(address, count).iter().map(|x| Self::from(x.to_f32()))),
                        Number::Bf16 => {
                            to.extend(numbers::<bf16>(address, count).iter().map(|x| Self::from(x.to_f32())))
                        }
                        Number::F32 => to.extend(numbers::<f32>(address, count).iter().map(|x| *x as Self)),
                        Number::F64 => to.extend(numbers::<f64>(address, count).iter().map(|x| *x as Self)),
                    }
                }
            }

            fn combine(alpha: Self, x: Self, beta: Self, y: Self) -> Self {
                alpha * x + beta * y
            }
        }
    };
}

sum!(f32);
sum!(f64);

/// # Safety
/// So many of them lie there, aligned, and nothing writes to them meanwhile.
unsafe fn numbers<'a, T>(address: u64, count: usize) -> &'a [T] {
    // SAFETY: as the caller says.
    unsafe { std::slice::from_raw_parts(address as *const T, count) }
}

/// One matrix of a batch, column by column without gaps.
fn dense<T: Sum>(matrices: &Matrices, index: usize, to: &mut Vec<T>) {
    to.clear();
    // A matrix of nothing may lie nowhere.
    if matrices.rows == 0 {
        return;
    }
    to.reserve(matrices.rows * matrices.columns);
    for column in 0..matrices.columns {
        let element = index * matrices.stride + column * matrices.leading;
        let address = matrices.address + (element * matrices.number.bytes()) as u64;
        // SAFETY: the batch's elements were checked to lie in one allocation, and the lock keeps others from writing.
        unsafe { T::read(address, matrices.number, matrices.rows, to) };
    }
}

fn multiply<T: Sum>(product: &Product) {
    let (mut a, mut b, mut old) = (Vec::<T>::new(), Vec::new(), Vec::new());
    let mut sums = vec![T::ZERO; product.m * product.n];
    for index in 0..product.batch {
        if index == 0 || product.a.stride > 0 {
            dense(&product.a, index, &mut a);
        }
        if index == 0 || product.b.stride > 0 {
            dense(&product.b, index, &mut b);
        }
        add_up(product, &a, &b, &mut sums);
        // With a beta of 0 what was there is not read, be it NaN.
        if product.beta != 0.0 {
            dense(&product.c, index, &mut old);
        }
        store(product, index, &sums, &old);
    }
}

/// `sums = op(a) op(b)`.
fn add_up<T: Sum>(product: &Product, a: &[T], b: &[T], sums: &mut [T]) {
    let (m, n, k) = (product.m, product.n, product.k);
    assert!(a.len() == m * k && b.len() == k * n && sums.len() == m * n);
    if k == 0 {
        return sums.fill(T::ZERO);
    }
    // Steps from a column and a row to the next.
    let steps = |op, rows: usize| if op == Op::N { (rows as isize, 1) } else { (1, rows as isize) };
    let ((a_column, a_row), (b_column, b_row)) =
        (steps(product.ops[0], product.a.rows), steps(product.ops[1], product.b.rows));
    let parallel = if m * n * k < LARGE { Parallelism::None } else { Parallelism::Rayon(0) };
    // SAFETY: the three have as many elements as the steps reach.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            sums.as_mut_ptr(),
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

fn store<T: Sum>(product: &Product, index: usize, sums: &[T], old: &[T]) {
    let c = &product.c;
    let (alpha, beta) = (T::of(product.alpha), T::of(product.beta));
    for column in 0..c.columns {
        let element = index * c.stride + column * c.leading;
        let address = c.address + (element * c.number.bytes()) as u64;
        let at = column * c.rows;
        let result = |row: usize| {
            let y = if old.is_empty() { T::ZERO } else { old[at + row] };
            T::combine(alpha, sums[at + row], beta, y)
        };
        // SAFETY: the batch's elements were checked to lie in one allocation, aligned, and no reference to them is kept.
        unsafe {
            match c.number {
                Number::F16 => write(address, c.rows, |row| f16::from_f32(result(row).value() as f32)),
                Number::Bf16 => write(address, c.rows, |row| bf16::from_f32(result(row).value() as f32)),
                Number::F32 => write(address, c.rows, |row| result(row).value() as f32),
                Number::F64 => write(address, c.rows, |row| result(row).value()),
            }
        }
    }
}

/// # Safety
/// There is room for so many of them, aligned.
unsafe fn write<T>(address: u64, count: usize, value: impl Fn(usize) -> T) {
    for i in 0..count {
        // SAFETY: as the caller says.
        unsafe { (address as *mut T).add(i).write(value(i)) };
    }
}
