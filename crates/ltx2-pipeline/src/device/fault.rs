//! What a failed computation says about the device, by the driver's codes.

use candle_core::{Device, Error};

/// A failure that is the device's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "a CPU has no such failures"))]
pub(crate) enum Fault {
    /// There was not enough memory. The device is as good as before.
    OutOfMemory,
    /// A fault, such as an access to a wrong address, after which CUDA answers nothing more in this process.
    Lost,
}

/// The fault behind `error`, an error of a computation on `device`; `None` where it is not the device's. Waits for the
/// device, and takes what errors it has kept.
pub(crate) fn fault(error: &Error, device: &Device) -> Option<Fault> {
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

    use super::Fault;

    pub(super) fn fault(error: &Error, device: &CudaDevice) -> Option<Fault> {
        if is_lost(device) {
            return Some(Fault::Lost);
        }
        is_out_of_memory(error).then_some(Fault::OutOfMemory)
    }

    /// Whether the device does not answer even when it is left alone. Errors that pass are taken by the first two calls;
    /// one that stays is there for the third as well. (candle hides the code of an error of its own synchronisation.)
    fn is_lost(device: &CudaDevice) -> bool {
        let stream = device.cuda_stream();
        let _ = stream.context().check_err();
        let _ = stream.synchronize();
        stream.synchronize().is_err()
    }

    pub(super) fn is_out_of_memory(error: &Error) -> bool {
        match error {
            Error::Cuda(inner) => says_out_of_memory(inner.as_ref()),
            Error::WrappedContext { wrapped, .. } => says_out_of_memory(wrapped.as_ref()),
            Error::Context { inner, .. } | Error::WithPath { inner, .. } | Error::WithBacktrace { inner, .. } => {
                is_out_of_memory(inner)
            }
            _ => false,
        }
    }

    /// Of an error that candle wraps: its own, or one of ours around a kernel.
    fn says_out_of_memory(error: &(dyn std::error::Error + 'static)) -> bool {
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
                    || error.source().is_some_and(says_out_of_memory)
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
        fn it_is_found_wherever_candle_hides_it() {
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
        fn nothing_else_is_taken_for_it() {
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
