//! Functions that must exist for programs to load, but are not emulated.

/// Defines functions that return an error whatever their arguments are.
macro_rules! unsupported {
    ($status:expr; $($name:ident)*) => {$(
        /// Not supported.
        #[unsafe(no_mangle)]
        pub extern "C" fn $name() -> u32 {
            eprintln!("emulator: {} is not supported", stringify!($name));
            $status
        }
    )*};
}
pub(crate) use unsupported;

use super::status::CudaStatus;

unsupported! { CudaStatus::NotSupported as u32;
    cuCtxCreate_v3 cuCtxCreate_v4 cuCtxDestroy_v2 cuCtxGetCacheConfig cuCtxGetLimit cuCtxGetStreamPriorityRange
    cuCtxSetCacheConfig cuCtxSetFlags cuCtxSetLimit cuDestroyExternalMemory cuDeviceGetUuid cuDeviceSetMemPool
    cuExternalMemoryGetMappedBuffer cuFuncSetCacheConfig cuGetProcAddress cuGetProcAddress_v2 cuGraphDestroy
    cuGraphExecDestroy cuGraphInstantiateWithFlags cuGraphLaunch cuGraphUpload cuImportExternalMemory
    cuLaunchCooperativeKernel cuLaunchHostFunc cuMemAdvise_v2 cuMemAllocManaged
    cuMemPoolCreate cuMemPoolDestroy cuMemPrefetchAsync_v2 cuMemcpyPeerAsync
    cuOccupancyAvailableDynamicSMemPerBlock cuOccupancyMaxActiveBlocksPerMultiprocessor
    cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags cuOccupancyMaxActiveClusters cuOccupancyMaxPotentialBlockSize
    cuOccupancyMaxPotentialBlockSizeWithFlags cuOccupancyMaxPotentialClusterSize cuProfilerStart cuProfilerStop
    cuStreamAttachMemAsync cuStreamBeginCapture_v2 cuStreamEndCapture
}
