//! Comparisons with products computed element by element in float64.

use half::{bf16, f16};

use super::gemm::{MatrixArguments, SizeArguments};
use super::*;
use crate::driver::objects::BlasHandle;
use crate::memory::{self, Owner};
use crate::report::{ElementType, Op};

/// A buffer in device memory, freed when dropped.
struct Buffer {
    address: u64,
    element: ElementType,
    count: usize,
}

impl Buffer {
    fn of(element: ElementType, values: &[f64]) -> Self {
        let address = memory::memory().allocate((values.len() * element.bytes()) as u64, Owner::Pool).unwrap();
        let buffer = Self { address, element, count: values.len() };
        for (i, value) in values.iter().enumerate() {
            // SAFETY: the buffer was allocated with `values.len()` elements of the type, and `i` is in range.
            unsafe {
                match element {
                    ElementType::F16 => (address as *mut f16).add(i).write(f16::from_f64(*value)),
                    ElementType::Bf16 => (address as *mut bf16).add(i).write(bf16::from_f64(*value)),
                    ElementType::F32 => (address as *mut f32).add(i).write(*value as f32),
                    ElementType::F64 => (address as *mut f64).add(i).write(*value),
                }
            }
        }
        buffer
    }

    fn values(&self) -> Vec<f64> {
        let value = |i: usize| {
            // SAFETY: the buffer holds `count` initialised elements of the type, and `i` is in range.
            unsafe {
                match self.element {
                    ElementType::F16 => (self.address as *const f16).add(i).read().to_f64(),
                    ElementType::Bf16 => (self.address as *const bf16).add(i).read().to_f64(),
                    ElementType::F32 => f64::from((self.address as *const f32).add(i).read()),
                    ElementType::F64 => (self.address as *const f64).add(i).read(),
                }
            }
        };
        (0..self.count).map(value).collect()
    }

    fn arguments(&self, leading: usize, stride: usize) -> MatrixArguments {
        MatrixArguments {
            address: self.address,
            element: Some(self.element),
            leading: leading as i32,
            stride: stride as i64,
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        memory::memory().free(self.address);
    }
}

/// Returns pseudo-random values in [-1, 1).
fn noise(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn device() -> (Device, usize) {
    let mut device = Device::new(Mode::Run);
    let handle = device.blas.insert(BlasHandle::default());
    (device, handle)
}

/// A product with gaps between columns and between matrices.
#[derive(Debug, Clone, Copy)]
struct Case {
    sizes: [usize; 4],
    ops: [Op; 2],
    elements: [ElementType; 3],
    scalars: (f64, f64),
    gap: usize,
    /// Whether the batch shares one right operand.
    shared: bool,
}

impl Case {
    /// Returns rows, columns, leading dimension and stride of an operand as stored.
    fn layout(&self, op: Op, rows: usize, columns: usize) -> [usize; 4] {
        let (rows, columns) = if op == Op::N { (rows, columns) } else { (columns, rows) };
        let leading = rows + self.gap;
        [rows, columns, leading, leading * columns + self.gap]
    }

    fn check(self) {
        let [m, n, k, batch] = self.sizes;
        let (la, lb, lc) = (self.layout(self.ops[0], m, k), self.layout(self.ops[1], k, n), self.layout(Op::N, m, n));
        let stride_b = if self.shared { 0 } else { lb[3] };
        let [a, b, c] = [(la[3], 1), (lb[3], 2), (lc[3], 3)]
            .map(|(stride, seed)| noise(stride * batch, seed))
            .into_iter()
            .zip(self.elements)
            .map(|(values, element)| Buffer::of(element, &values))
            .collect::<Vec<_>>()
            .try_into()
            .unwrap_or_else(|_| unreachable!());
        let before = c.values();
        let scalar = if self.elements[0] == ElementType::F64 { ElementType::F64 } else { ElementType::F32 };
        let sizes = SizeArguments { ops: self.ops.map(|op| op as u32), sizes: self.sizes.map(|size| size as i32) };
        let arguments = [a.arguments(la[2], la[3]), b.arguments(lb[2], stride_b), c.arguments(lc[2], lc[3])];
        let (mut device, handle) = device();
        multiply(&mut device, handle, Gemm::new(sizes, arguments, self.scalars, scalar)).unwrap();
        let (a, b, after) = (a.values(), b.values(), c.values());
        let at = |op, layout: [usize; 4], row: usize, column: usize| match op {
            Op::N => column * layout[2] + row,
            Op::T => row * layout[2] + column,
        };
        let mut untouched = before.clone();
        for index in 0..batch {
            for (column, row) in (0..n).flat_map(|column| (0..m).map(move |row| (column, row))) {
                let product = |i| {
                    a[index * la[3] + at(self.ops[0], la, row, i)]
                        * b[index * stride_b + at(self.ops[1], lb, i, column)]
                };
                let sum: f64 = (0..k).map(product).sum();
                let place = index * lc[3] + column * lc[2] + row;
                let wanted = self.scalars.0 * sum + self.scalars.1 * before[place];
                let allowed = self.allowed(wanted);
                assert!((after[place] - wanted).abs() <= allowed, "{self:?}: {} differs from {wanted}", after[place]);
                untouched[place] = after[place];
            }
        }
        assert_eq!(untouched, after, "{self:?}: gaps were overwritten");
    }

    /// Tolerance: one rounding to the result's type plus the error of float32 accumulation.
    fn allowed(&self, wanted: f64) -> f64 {
        let (rounding, sums) = match self.elements[2] {
            ElementType::Bf16 => (2f64.powi(-8), 1e-5),
            ElementType::F16 => (2f64.powi(-11), 1e-5),
            ElementType::F32 => (0.0, 1e-5),
            ElementType::F64 => (0.0, 1e-13),
        };
        wanted.abs() * rounding + sums * (self.sizes[2] as f64).sqrt().max(1.0)
    }
}

#[test]
fn products_match_a_float64_reference() {
    let kinds = [
        [ElementType::Bf16; 3],
        [ElementType::F16; 3],
        [ElementType::F32; 3],
        [ElementType::F64; 3],
        [ElementType::Bf16, ElementType::Bf16, ElementType::F32],
    ];
    let mut cases = 0;
    for elements in kinds {
        for ops in [[Op::N, Op::N], [Op::N, Op::T], [Op::T, Op::N], [Op::T, Op::T]] {
            for (sizes, gap, shared) in [
                ([5, 3, 7, 1], 0, false),
                ([9, 4, 33, 3], 2, false),
                ([1, 6, 2, 4], 1, true),
                ([70, 65, 80, 2], 0, true),
            ] {
                for scalars in [(1.0, 0.0), (0.5, -2.0)] {
                    Case { sizes, ops, elements, scalars, gap, shared }.check();
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 160);
}

#[test]
fn zero_beta_ignores_nan_in_the_result() {
    let a = Buffer::of(ElementType::F32, &[1.0, 2.0]);
    let c = Buffer::of(ElementType::F32, &[f64::NAN]);
    let sizes = SizeArguments { ops: [1, 0], sizes: [1, 1, 2, 1] };
    let arguments = [a.arguments(2, 0), a.arguments(2, 0), c.arguments(1, 0)];
    let (mut device, handle) = device();
    multiply(&mut device, handle, Gemm::new(sizes, arguments, (1.0, 0.0), ElementType::F32)).unwrap();
    assert_eq!(c.values(), [5.0]);
}

#[test]
fn product_with_zero_inner_dimension_is_zero() {
    let c = Buffer::of(ElementType::Bf16, &[3.0, 4.0]);
    let nothing = MatrixArguments { address: 0, element: Some(ElementType::Bf16), leading: 2, stride: 0 };
    let sizes = SizeArguments { ops: [0, 0], sizes: [2, 1, 0, 1] };
    let (mut device, handle) = device();
    multiply(
        &mut device,
        handle,
        Gemm::new(sizes, [nothing, nothing, c.arguments(2, 0)], (1.0, 0.5), ElementType::F32),
    )
    .unwrap();
    assert_eq!(c.values(), [1.5, 2.0]);
}

#[test]
fn invalid_arguments_are_rejected() {
    let a = Buffer::of(ElementType::Bf16, &[0.0; 64]);
    let (mut device, handle) = device();
    let mut answer = |handle, sizes: [i32; 4], arguments: [MatrixArguments; 3], scalar| {
        let product = Gemm::new(SizeArguments { ops: [0, 0], sizes }, arguments, (1.0, 0.0), scalar);
        multiply(&mut device, handle, product).err()
    };
    let right = [a.arguments(4, 16); 3];
    let with = |leading, stride| MatrixArguments { leading, stride, ..right[0] };
    assert_eq!(answer(handle, [4, 4, 4, 4], right, ElementType::F32), None);
    assert_eq!(answer(handle + 1, [4, 4, 4, 4], right, ElementType::F32), Some(CublasStatus::NotInitialized));
    assert_eq!(answer(handle, [5, 4, 4, 1], right, ElementType::F32), Some(CublasStatus::InvalidValue));
    assert_eq!(answer(handle, [-1, 4, 4, 1], right, ElementType::F32), Some(CublasStatus::InvalidValue));
    assert_eq!(
        answer(handle, [4, 4, 4, 2], [with(4, -16), right[1], right[2]], ElementType::F32),
        Some(CublasStatus::InvalidValue)
    );
    assert_eq!(
        answer(handle, [4, 4, 4, 1], [with(3, 0), right[1], right[2]], ElementType::F32),
        Some(CublasStatus::InvalidValue)
    );
    assert_eq!(answer(handle, [4, 4, 4, 1], right, ElementType::F64), Some(CublasStatus::NotSupported));
    let odd = MatrixArguments { address: a.address + 1, ..right[0] };
    assert_eq!(
        answer(handle, [4, 4, 4, 1], [odd, right[1], right[2]], ElementType::F32),
        Some(CublasStatus::InvalidValue)
    );
    // The fifth matrix is out of bounds, which loses the device.
    assert_eq!(answer(handle, [4, 4, 4, 5], right, ElementType::F32), Some(CublasStatus::ExecutionFailed));
    assert!(device.ensure_alive().is_err());
}

#[test]
fn products_are_counted_by_shape() {
    let a = Buffer::of(ElementType::F32, &[0.0; 64]);
    let mut device = Device::new(Mode::Count);
    let handle = device.blas.insert(BlasHandle::default());
    for stride in [16, 16, 0] {
        let sizes = SizeArguments { ops: [0, 1], sizes: [4, 4, 4, 4] };
        let arguments = [a.arguments(4, 16), a.arguments(4, stride), a.arguments(4, 16)];
        multiply(&mut device, handle, Gemm::new(sizes, arguments, (1.0, 0.0), ElementType::F32)).unwrap();
    }
    let report = device.report.json(None);
    let rows = report["phases"][0]["rows"].as_array().unwrap();
    let calls: Vec<_> =
        rows.iter().map(|row| (row["calls"].as_u64().unwrap(), row["bytes"].as_u64().unwrap())).collect();
    assert_eq!(calls, [(2, 2 * 3 * 256), (1, 2 * 256 + 64)]);
}
