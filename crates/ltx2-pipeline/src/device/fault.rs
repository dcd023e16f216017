//! Classification of failed computations by the driver's error codes.

use candle_core::{Device, Error};

/// A failure of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only GPUs have such failures"))]
pub(crate) enum DeviceFault {
    /// An allocation failed. The device remains usable.
    OutOfMemory,
    /// A fault, such as an illegal address, after which CUDA fails every call of this process.
    Lost,
}

/// Returns the fault of `device` that caused `error`; `None` for other errors. Waits for the device and clears its
/// pending errors.
pub(crate) fn device_fault(error: &Error, device: &Device) -> Option<DeviceFault> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => cuda::fault(error, device),
        _ => {
            let _ = error;
            None
        }
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use candle_core::cuda_backend::CudaError;
    use candle_core::cuda_backend::cudarc::cublas::result::CublasError;
    use candle_core::cuda_backend::cudarc::cublas::sys::cublasStatus_t;
    use candle_core::cuda_backend::cudarc::driver::DriverError;
    use candle_core::cuda_backend::cudarc::driver::sys::CUresult;
    use candle_core::{CudaDevice, Error};

    use super::DeviceFault;

    pub(super) fn fault(error: &Error, device: &CudaDevice) -> Option<DeviceFault> {
        if is_lost(device) {
            return Some(DeviceFault::Lost);
        }
        is_out_of_memory(error).then_some(DeviceFault::OutOfMemory)
    }

    /// Whether the context is lost. The first two calls drain pending errors; if the third fails too, the error is
    /// permanent. (candle hides the code of errors of its own synchronization.)
    fn is_lost(device: &CudaDevice) -> bool {
        let stream = device.cuda_stream();
        let _ = stream.context().check_err();
        let _ = stream.synchronize();
        stream.synchronize().is_err()
    }

    pub(super) fn is_out_of_memory(error: &Error) -> bool {
        match error {
            Error::Cuda(inner) => is_wrapped_out_of_memory(inner.as_ref()),
            Error::WrappedContext { wrapped, .. } => is_wrapped_out_of_memory(wrapped.as_ref()),
            Error::Context { inner, .. } | Error::WithPath { inner, .. } | Error::WithBacktrace { inner, .. } => {
                is_out_of_memory(inner)
            }
            _ => false,
        }
    }

    /// Checks an error that candle wraps: its own, or one that a kernel of this workspace returns.
    fn is_wrapped_out_of_memory(error: &(dyn std::error::Error + 'static)) -> bool {
        if let Some(error) = error.downcast_ref::<Error>() {
            return is_out_of_memory(error);
        }
        match error.downcast_ref::<CudaError>() {
            Some(CudaError::Cuda(error) | CudaError::Load { cuda: error, .. }) => driver(error),
            Some(CudaError::Cublas(error)) => cublas(error),
            Some(_) => false,
            None => {
                error.downcast_ref().is_some_and(driver)
                    || error.downcast_ref().is_some_and(cublas)
                    || error.source().is_some_and(is_wrapped_out_of_memory)
            }
        }
    }

    fn driver(error: &DriverError) -> bool {
        error.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY
    }

    fn cublas(error: &CublasError) -> bool {
        error.0 == cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        const FULL: DriverError = DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY);

        fn boxed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
            Error::Cuda(Box::new(error))
        }

        #[test]
        fn out_of_memory_is_found_in_every_wrapper_of_candle() {
            let full = || boxed(CudaError::Cuda(FULL));
            let cublas = CudaError::Cublas(CublasError(cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED));
            let wrapped = Error::WrappedContext { wrapped: Box::new(full()), context: "loading".into() };
            let load = CudaError::Load { cuda: FULL, module_name: "cast".into() };
            let all = [
                full(),
                boxed(cublas),
                boxed(load),
                boxed(FULL),
                wrapped,
                full().context("x").with_path("y"),
                Error::WithBacktrace {
                    inner: Box::new(full()),
                    backtrace: Box::new(std::backtrace::Backtrace::disabled()),
                },
            ];
            for (i, error) in all.iter().enumerate() {
                assert!(is_out_of_memory(error), "{i}");
            }
        }

        #[test]
        fn other_errors_are_not_out_of_memory() {
            let others = [
                boxed(CudaError::Cuda(DriverError(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS))),
                boxed(CudaError::Cublas(CublasError(cublasStatus_t::CUBLAS_STATUS_EXECUTION_FAILED))),
                Error::Msg("CUDA_ERROR_OUT_OF_MEMORY".into()),
                boxed(CudaError::InternalError("out of memory")),
            ];
            for (i, error) in others.iter().enumerate() {
                assert!(!is_out_of_memory(error), "{i}");
            }
        }
    }
}
