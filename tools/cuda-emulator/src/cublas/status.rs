//! Result codes of cuBLAS.

/// Error code of a cuBLAS function (`cublasStatus_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum CublasStatus {
    NotInitialized = 1,
    InvalidValue = 7,
    ExecutionFailed = 13,
    NotSupported = 15,
}

/// Result of a cuBLAS function.
pub(super) type Result<T = (), E = CublasStatus> = std::result::Result<T, E>;
