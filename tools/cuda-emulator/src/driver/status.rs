//! Result codes of the driver.

use std::ffi::CStr;

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $symbol:literal, $text:literal;)*) => {
        /// Error code of a driver function (`CUresult`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u32)]
        pub(crate) enum CudaStatus { $($(#[$doc])* $name = $code,)* }

        /// Code, symbol and description of each status.
        const TABLE: &[(u32, &CStr, &CStr)] = &[(0, c"CUDA_SUCCESS", c"no error"), $(($code, $symbol, $text),)*];
    };
}

statuses! {
    InvalidValue = 1, c"CUDA_ERROR_INVALID_VALUE", c"invalid argument";
    OutOfMemory = 2, c"CUDA_ERROR_OUT_OF_MEMORY", c"out of memory";
    NotInitialized = 3, c"CUDA_ERROR_NOT_INITIALIZED", c"initialization error";
    InvalidDevice = 101, c"CUDA_ERROR_INVALID_DEVICE", c"invalid device ordinal";
    InvalidContext = 201, c"CUDA_ERROR_INVALID_CONTEXT", c"invalid device context";
    NoBinaryForGpu = 209, c"CUDA_ERROR_NO_BINARY_FOR_GPU", c"no kernel image is available for execution on the device";
    InvalidPtx = 218, c"CUDA_ERROR_INVALID_PTX", c"a PTX JIT compilation failed";
    FileNotFound = 301, c"CUDA_ERROR_FILE_NOT_FOUND", c"file not found";
    InvalidHandle = 400, c"CUDA_ERROR_INVALID_HANDLE", c"invalid resource handle";
    NotFound = 500, c"CUDA_ERROR_NOT_FOUND", c"named symbol not found";
    IllegalAddress = 700, c"CUDA_ERROR_ILLEGAL_ADDRESS", c"an illegal memory access was encountered";
    LaunchOutOfResources = 701, c"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", c"too many resources requested for launch";
    NotSupported = 801, c"CUDA_ERROR_NOT_SUPPORTED", c"operation not supported";
}

/// Result of a driver function.
pub(crate) type Result<T = (), E = CudaStatus> = std::result::Result<T, E>;

/// Returns the symbol of a code, or `None` for codes that the emulator never returns.
pub(crate) fn symbol(code: u32) -> Option<&'static CStr> {
    TABLE.iter().find(|row| row.0 == code).map(|row| row.1)
}

/// Returns the description of a code.
pub(crate) fn description(code: u32) -> Option<&'static CStr> {
    TABLE.iter().find(|row| row.0 == code).map(|row| row.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_map_to_their_symbols() {
        assert_eq!(symbol(0), Some(c"CUDA_SUCCESS"));
        assert_eq!(symbol(CudaStatus::LaunchOutOfResources as u32), Some(c"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"));
        assert_eq!((symbol(9), description(9)), (None, None));
    }
}
