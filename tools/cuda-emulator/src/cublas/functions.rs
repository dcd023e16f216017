//! The C functions of cuBLAS.

use std::ffi::{c_int, c_longlong, c_uint, c_void};

use half::f16;

use super::product::{Given, Product, Sizes};
use super::{Blas, Result, Status, multiply};
use crate::driver::call::{Needs, Out, call};
use crate::driver::device::Device;
use crate::driver::unsupported::unsupported;
use crate::report::Number;

/// Runs a function under the driver's lock, and answers as cuBLAS does.
fn run(name: &str, body: impl FnOnce(&mut Device) -> Result) -> u32 {
    let mut answer = Ok(());
    let called = call(name, Needs::Context, |device| {
        answer = body(device);
        Ok(())
    });
    match (called, answer) {
        (Ok(()), Ok(())) => 0,
        (Ok(()), Err(status)) => status as u32,
        // Without a context it is not initialised; with a lost device it fails.
        (Err(crate::driver::status::Status::IllegalAddress), _) => Status::ExecutionFailed as u32,
        (Err(_), _) => Status::NotInitialized as u32,
    }
}

/// Defines functions of cuBLAS.
macro_rules! cublas {
    ($(
        $(#[$doc:meta])*
        fn $name:ident($($argument:ident: $type:ty),* $(,)?) |$device:pat_param| $body:block
    )*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        /// As cuBLAS's function of this name.
        #[unsafe(no_mangle)]
        #[allow(clippy::too_many_arguments, reason = "they are the library's")]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> u32 {
            run(stringify!($name), |$device: &mut Device| $body)
        }
    )*};
}

/// What a matrix holds, by CUDA's number for it.
fn number(number: c_uint) -> Option<Number> {
    match number {
        0 => Some(Number::F32),
        1 => Some(Number::F64),
        2 => Some(Number::F16),
        14 => Some(Number::Bf16),
        _ => None,
    }
}

/// What the scalars of a compute type are.
fn scalar(compute: c_uint) -> Result<Number> {
    match compute {
        64 | 65 => Ok(Number::F16),
        // float32, also by way of shorter numbers, which is not imitated.
        68 | 69 | 74..=78 => Ok(Number::F32),
        70 | 71 => Ok(Number::F64),
        _ => Err(Status::NotSupported),
    }
}

/// A scalar in the host's memory.
///
/// # Safety
/// `place` is null or points to such a number.
unsafe fn read(place: *const c_void, number: Number) -> Result<f64> {
    if place.is_null() {
        return Err(Status::InvalidValue);
    }
    // SAFETY: as the caller says.
    unsafe {
        Ok(match number {
            Number::F16 => f64::from(place.cast::<f16>().read()),
            Number::Bf16 => return Err(Status::NotSupported),
            Number::F32 => f64::from(place.cast::<f32>().read()),
            Number::F64 => place.cast::<f64>().read(),
        })
    }
}

/// Products of one kind of number.
///
/// # Safety
/// `alpha` and `beta` are null or point to such numbers.
unsafe fn uniform(
    kind: Number,
    ops: [c_uint; 2],
    sizes: [c_int; 4],
    scalars: [*const c_void; 2],
    matrices: [(u64, c_int, c_longlong); 3],
) -> Result<Product> {
    let given = matrices.map(|(address, leading, stride)| Given { address, number: Some(kind), leading, stride });
    // SAFETY: as the caller says.
    let scalars = unsafe { (read(scalars[0], kind)?, read(scalars[1], kind)?) };
    Product::new(Sizes { ops, sizes }, given, scalars, kind)
}

cublas! {
    /// A new handle.
    fn cublasCreate_v2(handle: Out<usize>) |device| {
        let blas = device.blas.insert(Blas::default());
        handle.put(blas).map_err(|_| Status::InvalidValue)
    }

    /// Ends a handle.
    fn cublasDestroy_v2(handle: usize) |device| {
        device.blas.remove(handle).map(drop).map_err(|_| Status::NotInitialized)
    }

    /// The stream that products are computed on.
    fn cublasSetStream_v2(handle: usize, stream: usize) |device| {
        device.stream(stream).map_err(|_| Status::InvalidValue)?;
        device.blas.get_mut(handle).map_err(|_| Status::NotInitialized)?.stream = stream;
        Ok(())
    }

    /// How exact products have to be; they always are as exact as can be.
    fn cublasSetMathMode(handle: usize, _mode: c_uint) |device| {
        device.blas.get(handle).map(|_| ()).map_err(|_| Status::NotInitialized)
    }

    /// Where scalars lie: in the host's memory alone.
    fn cublasSetPointerMode_v2(handle: usize, mode: c_uint) |device| {
        device.blas.get(handle).map_err(|_| Status::NotInitialized)?;
        if mode == 0 { Ok(()) } else { Err(Status::NotSupported) }
    }

    /// Where scalars lie: in the host's memory.
    fn cublasGetPointerMode_v2(handle: usize, mode: Out<c_uint>) |device| {
        device.blas.get(handle).map_err(|_| Status::NotInitialized)?;
        mode.put(0).map_err(|_| Status::InvalidValue)
    }

    /// A batch of products, evenly spaced.
    fn cublasGemmStridedBatchedEx(
        handle: usize,
        op_a: c_uint, op_b: c_uint,
        m: c_int, n: c_int, k: c_int,
        alpha: *const c_void,
        a: u64, type_a: c_uint, leading_a: c_int, stride_a: c_longlong,
        b: u64, type_b: c_uint, leading_b: c_int, stride_b: c_longlong,
        beta: *const c_void,
        c: u64, type_c: c_uint, leading_c: c_int, stride_c: c_longlong,
        batch: c_int, compute: c_uint, _algorithm: c_int,
    ) |device| {
        let product = scalar(compute).and_then(|scalar| {
            let sizes = Sizes { ops: [op_a, op_b], sizes: [m, n, k, batch] };
            let given = [
                Given { address: a, number: number(type_a), leading: leading_a, stride: stride_a },
                Given { address: b, number: number(type_b), leading: leading_b, stride: stride_b },
                Given { address: c, number: number(type_c), leading: leading_c, stride: stride_c },
            ];
            // SAFETY: the scalars are of the compute type's kind.
            let scalars = unsafe { (read(alpha, scalar)?, read(beta, scalar)?) };
            Product::new(sizes, given, scalars, scalar)
        });
        multiply(device, handle, product)
    }

    /// One product.
    fn cublasGemmEx(
        handle: usize,
        op_a: c_uint, op_b: c_uint,
        m: c_int, n: c_int, k: c_int,
        alpha: *const c_void,
        a: u64, type_a: c_uint, leading_a: c_int,
        b: u64, type_b: c_uint, leading_b: c_int,
        beta: *const c_void,
        c: u64, type_c: c_uint, leading_c: c_int,
        compute: c_uint, _algorithm: c_int,
    ) |device| {
        let product = scalar(compute).and_then(|scalar| {
            let sizes = Sizes { ops: [op_a, op_b], sizes: [m, n, k, 1] };
            let given = [
                Given { address: a, number: number(type_a), leading: leading_a, stride: 0 },
                Given { address: b, number: number(type_b), leading: leading_b, stride: 0 },
                Given { address: c, number: number(type_c), leading: leading_c, stride: 0 },
            ];
            // SAFETY: the scalars are of the compute type's kind.
            let scalars = unsafe { (read(alpha, scalar)?, read(beta, scalar)?) };
            Product::new(sizes, given, scalars, scalar)
        });
        multiply(device, handle, product)
    }

    /// One product in float32.
    fn cublasSgemm_v2(
        handle: usize, op_a: c_uint, op_b: c_uint, m: c_int, n: c_int, k: c_int,
        alpha: *const c_void, a: u64, leading_a: c_int, b: u64, leading_b: c_int,
        beta: *const c_void, c: u64, leading_c: c_int,
    ) |device| {
        let matrices = [(a, leading_a, 0), (b, leading_b, 0), (c, leading_c, 0)];
        // SAFETY: the scalars are of that kind.
        let product = unsafe { uniform(Number::F32, [op_a, op_b], [m, n, k, 1], [alpha, beta], matrices) };
        multiply(device, handle, product)
    }

    /// One product in float64.
    fn cublasDgemm_v2(
        handle: usize, op_a: c_uint, op_b: c_uint, m: c_int, n: c_int, k: c_int,
        alpha: *const c_void, a: u64, leading_a: c_int, b: u64, leading_b: c_int,
        beta: *const c_void, c: u64, leading_c: c_int,
    ) |device| {
        let matrices = [(a, leading_a, 0), (b, leading_b, 0), (c, leading_c, 0)];
        // SAFETY: the scalars are of that kind.
        let product = unsafe { uniform(Number::F64, [op_a, op_b], [m, n, k, 1], [alpha, beta], matrices) };
        multiply(device, handle, product)
    }

    /// A batch of products in float32.
    fn cublasSgemmStridedBatched(
        handle: usize, op_a: c_uint, op_b: c_uint, m: c_int, n: c_int, k: c_int,
        alpha: *const c_void, a: u64, leading_a: c_int, stride_a: c_longlong,
        b: u64, leading_b: c_int, stride_b: c_longlong,
        beta: *const c_void, c: u64, leading_c: c_int, stride_c: c_longlong, batch: c_int,
    ) |device| {
        let matrices = [(a, leading_a, stride_a), (b, leading_b, stride_b), (c, leading_c, stride_c)];
        // SAFETY: the scalars are of that kind.
        let product = unsafe { uniform(Number::F32, [op_a, op_b], [m, n, k, batch], [alpha, beta], matrices) };
        multiply(device, handle, product)
    }

    /// A batch of products in float64.
    fn cublasDgemmStridedBatched(
        handle: usize, op_a: c_uint, op_b: c_uint, m: c_int, n: c_int, k: c_int,
        alpha: *const c_void, a: u64, leading_a: c_int, stride_a: c_longlong,
        b: u64, leading_b: c_int, stride_b: c_longlong,
        beta: *const c_void, c: u64, leading_c: c_int, stride_c: c_longlong, batch: c_int,
    ) |device| {
        let matrices = [(a, leading_a, stride_a), (b, leading_b, stride_b), (c, leading_c, stride_c)];
        // SAFETY: the scalars are of that kind.
        let product = unsafe { uniform(Number::F64, [op_a, op_b], [m, n, k, batch], [alpha, beta], matrices) };
        multiply(device, handle, product)
    }
}

unsupported! { Status::NotSupported as u32;
    cublasDasum_v2 cublasSasum_v2 cublasDgemv_v2 cublasSgemv_v2 cublasGemmGroupedBatchedEx
}
