//! The `extern "C"` functions of cuBLAS.

use std::ffi::{c_int, c_longlong, c_uint, c_void};

use half::f16;

use super::gemm::{Gemm, MatrixArguments, SizeArguments};
use super::multiply;
use super::status::{CublasStatus, Result};
use crate::driver::call::{Out, Requires, call};
use crate::driver::device::Device;
use crate::driver::objects::BlasHandle;
use crate::driver::unsupported::unsupported;
use crate::report::ElementType;

/// Runs a function under the driver's lock and returns its `cublasStatus_t` code.
fn with_device(name: &str, body: impl FnOnce(&mut Device) -> Result) -> u32 {
    let mut answer = Ok(());
    let called = call(name, Requires::Context, |device| {
        answer = body(device);
        Ok(())
    });
    match (called, answer) {
        (Ok(()), Ok(())) => 0,
        (Ok(()), Err(status)) => status as u32,
        // A missing context means an uninitialised library; on a lost device, execution fails.
        (Err(crate::driver::status::CudaStatus::IllegalAddress), _) => CublasStatus::ExecutionFailed as u32,
        (Err(_), _) => CublasStatus::NotInitialized as u32,
    }
}

/// Defines cuBLAS functions: `extern "C"` symbols that run their body under the driver's lock.
macro_rules! cublas {
    ($(
        $(#[$doc:meta])*
        fn $name:ident($($argument:ident: $type:ty),* $(,)?) |$device:pat_param| $body:block
    )*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        /// Same contract as the cuBLAS function of this name.
        #[unsafe(no_mangle)]
        #[allow(clippy::too_many_arguments, reason = "the signature is that of the library")]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> u32 {
            with_device(stringify!($name), |$device: &mut Device| $body)
        }
    )*};
}

/// Converts a `cudaDataType` to an element type.
fn element_type(data_type: c_uint) -> Option<ElementType> {
    match data_type {
        0 => Some(ElementType::F32),
        1 => Some(ElementType::F64),
        2 => Some(ElementType::F16),
        14 => Some(ElementType::Bf16),
        _ => None,
    }
}

/// Returns the type of the scalars for a `cublasComputeType_t`.
fn scalar(compute: c_uint) -> Result<ElementType> {
    match compute {
        64 | 65 => Ok(ElementType::F16),
        // float32, including the TF32 and 16-bit fast modes, which are computed in full precision.
        68 | 69 | 74..=78 => Ok(ElementType::F32),
        70 | 71 => Ok(ElementType::F64),
        _ => Err(CublasStatus::NotSupported),
    }
}

/// Reads a scalar from host memory.
///
/// # Safety
/// `pointer` is null or valid for reads of a value of the element type.
unsafe fn read(pointer: *const c_void, element: ElementType) -> Result<f64> {
    if pointer.is_null() {
        return Err(CublasStatus::InvalidValue);
    }
    // SAFETY: `pointer` is not null, and the caller guarantees that it points to a value of the type that is read.
    unsafe {
        Ok(match element {
            ElementType::F16 => f64::from(pointer.cast::<f16>().read()),
            ElementType::Bf16 => return Err(CublasStatus::NotSupported),
            ElementType::F32 => f64::from(pointer.cast::<f32>().read()),
            ElementType::F64 => pointer.cast::<f64>().read(),
        })
    }
}

/// Describes a product whose matrices and scalars have one element type.
///
/// # Safety
/// `alpha` and `beta` are null or valid for reads of a value of the element type.
unsafe fn uniform_gemm(
    element: ElementType,
    ops: [c_uint; 2],
    sizes: [c_int; 4],
    scalars: [*const c_void; 2],
    matrices: [(u64, c_int, c_longlong); 3],
) -> Result<Gemm> {
    let arguments =
        matrices.map(|(address, leading, stride)| MatrixArguments { address, element: Some(element), leading, stride });
    // SAFETY: the caller guarantees the scalars' types.
    let scalars = unsafe { (read(scalars[0], element)?, read(scalars[1], element)?) };
    Gemm::new(SizeArguments { ops, sizes }, arguments, scalars, element)
}

cublas! {
    /// Creates a handle.
    fn cublasCreate_v2(handle: Out<usize>) |device| {
        let blas = device.blas.insert(BlasHandle::default());
        handle.write(blas).map_err(|_| CublasStatus::InvalidValue)
    }

    /// Destroys a handle.
    fn cublasDestroy_v2(handle: usize) |device| {
        device.blas.remove(handle).map(drop).map_err(|_| CublasStatus::NotInitialized)
    }

    /// Sets the stream of a handle.
    fn cublasSetStream_v2(handle: usize, stream: usize) |device| {
        device.stream(stream).map_err(|_| CublasStatus::InvalidValue)?;
        device.blas.get_mut(handle).map_err(|_| CublasStatus::NotInitialized)?.stream = stream;
        Ok(())
    }

    /// Sets the math mode, which is ignored: products are always computed in full precision.
    fn cublasSetMathMode(handle: usize, _mode: c_uint) |device| {
        device.blas.get(handle).map(|_| ()).map_err(|_| CublasStatus::NotInitialized)
    }

    /// Sets the pointer mode. Only host pointers are supported.
    fn cublasSetPointerMode_v2(handle: usize, mode: c_uint) |device| {
        device.blas.get(handle).map_err(|_| CublasStatus::NotInitialized)?;
        if mode == 0 { Ok(()) } else { Err(CublasStatus::NotSupported) }
    }

    /// Returns the pointer mode: host pointers.
    fn cublasGetPointerMode_v2(handle: usize, mode: Out<c_uint>) |device| {
        device.blas.get(handle).map_err(|_| CublasStatus::NotInitialized)?;
        mode.write(0).map_err(|_| CublasStatus::InvalidValue)
    }

    /// Strided batched matrix product with explicit types.
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
            let sizes = SizeArguments { ops: [op_a, op_b], sizes: [m, n, k, batch] };
            let arguments = [
                MatrixArguments { address: a, element: element_type(type_a), leading: leading_a, stride: stride_a },
                MatrixArguments { address: b, element: element_type(type_b), leading: leading_b, stride: stride_b },
                MatrixArguments { address: c, element: element_type(type_c), leading: leading_c, stride: stride_c },
            ];
            // SAFETY: cuBLAS requires scalars of the type that the compute type implies.
            let scalars = unsafe { (read(alpha, scalar)?, read(beta, scalar)?) };
            Gemm::new(sizes, arguments, scalars, scalar)
        });
        multiply(device, handle, product)
    }

    /// Matrix product with explicit types.
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
            let sizes = SizeArguments { ops: [op_a, op_b], sizes: [m, n, k, 1] };
            let arguments = [
                MatrixArguments { address: a, element: element_type(type_a), leading: leading_a, stride: 0 },
                MatrixArguments { address: b, element: element_type(type_b), leading: leading_b, stride: 0 },
                MatrixArguments { address: c, element: element_type(type_c), leading: leading_c, stride: 0 },
            ];
            // SAFETY: cuBLAS requires scalars of the type that the compute type implies.
            let scalars = unsafe { (read(alpha, scalar)?, read(beta, scalar)?) };
            Gemm::new(sizes, arguments, scalars, scalar)
        });
        multiply(device, handle, product)
    }

    /// Matrix product in float32.
    fn cublasSgemm_v2(
        handle: usize, op_a: c_uint, op_b: c_uint, m: c_int, n: c_int, k: c_int,
        alpha: *const c_void, a: u64, leading_a: c_int, b: u64, leading_b: c_int,
        beta: *const c_void, c: u64, leading_c: c_int,
    ) |device| {
        let matrices = [(a, leading_a, 0), (b, leading_b, 0), (c, leading_c, 0)];
        // SAFETY: cuBLAS requires float32 scalars.
        let product = unsafe { uniform_gemm(ElementType::F32, [op_a, op_b], [m, n, k, 1], [alpha, beta], matrices) };
        multiply(device, handle, product)
    }

    /// Matrix product in float64.
    fn cublasDgemm_v2(
        handle: usize, op_a: c_uint, op_b: c_uint, m: c_int, n: c_int, k: c_int,
        alpha: *const c_void, a: u64, leading_a: c_int, b: u64, leading_b: c_int,
        beta: *const c_void, c: u64, leading_c: c_int,
    ) |device| {
        let matrices = [(a, leading_a, 0), (b, leading_b, 0), (c, leading_c, 0)];
        // SAFETY: cuBLAS requires float64 scalars.
        let product = unsafe { uniform_gemm(ElementType::F64, [op_a, op_b], [m, n, k, 1], [alpha, beta], matrices) };
        multiply(device, handle, product)
    }

    /// Strided batched matrix product in float32.
    fn cublasSgemmStridedBatched(
        handle: usize, op_a: c_uint, op_b: c_uint, m: c_int, n: c_int, k: c_int,
        alpha: *const c_void, a: u64, leading_a: c_int, stride_a: c_longlong,
        b: u64, leading_b: c_int, stride_b: c_longlong,
        beta: *const c_void, c: u64, leading_c: c_int, stride_c: c_longlong, batch: c_int,
    ) |device| {
        let matrices = [(a, leading_a, stride_a), (b, leading_b, stride_b), (c, leading_c, stride_c)];
        // SAFETY: cuBLAS requires float32 scalars.
        let product = unsafe { uniform_gemm(ElementType::F32, [op_a, op_b], [m, n, k, batch], [alpha, beta], matrices) };
        multiply(device, handle, product)
    }

    /// Strided batched matrix product in float64.
    fn cublasDgemmStridedBatched(
        handle: usize, op_a: c_uint, op_b: c_uint, m: c_int, n: c_int, k: c_int,
        alpha: *const c_void, a: u64, leading_a: c_int, stride_a: c_longlong,
        b: u64, leading_b: c_int, stride_b: c_longlong,
        beta: *const c_void, c: u64, leading_c: c_int, stride_c: c_longlong, batch: c_int,
    ) |device| {
        let matrices = [(a, leading_a, stride_a), (b, leading_b, stride_b), (c, leading_c, stride_c)];
        // SAFETY: cuBLAS requires float64 scalars.
        let product = unsafe { uniform_gemm(ElementType::F64, [op_a, op_b], [m, n, k, batch], [alpha, beta], matrices) };
        multiply(device, handle, product)
    }
}

unsupported! { CublasStatus::NotSupported as u32;
    cublasDasum_v2 cublasSasum_v2 cublasDgemv_v2 cublasSgemv_v2 cublasGemmGroupedBatchedEx
}
