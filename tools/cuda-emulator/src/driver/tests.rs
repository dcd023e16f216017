use std::ffi::{CStr, c_int, c_void};

use super::call::{CONTEXT, Out, current, set_current};
use super::context::*;
use super::copies::*;
use super::device::Device;
use super::events::*;
use super::host_memory::*;
use super::modules::*;
use super::pool::*;
use super::status::CudaStatus;
use super::streams::*;
use crate::memory::{self, Owner};
use crate::settings::Mode;

/// A kernel with an address and an integer as parameters, and a limit of 128 threads per block.
const PTX: &CStr = c"\
.version 8.0
.target sm_80
.address_size 64

.visible .entry nothing(
	.param .u64 nothing_param_0,
	.param .u32 nothing_param_1
)
.maxntid 128, 1, 1
{
	ret;
}
";

fn bad(code: u32) -> bool {
    code == CudaStatus::InvalidHandle as u32
}

/// Covers the process-wide state in one test: first without a context, then with one.
#[test]
fn driver_functions_return_their_documented_results() {
    let mut free = 0usize;
    // SAFETY: every pointer refers to a local of the documented type, or is null where the test requires it.
    unsafe {
        assert_eq!(cuStreamSynchronize(0), CudaStatus::NotInitialized as u32);
        assert_eq!(cuInit(0), 0);
        assert_eq!(cuInit(0), 0);
        assert_eq!(cuMemGetInfo_v2(Out::to(&mut free), Out::to(&mut 0)), CudaStatus::InvalidContext as u32);
        let (mut count, mut device, mut context) = (0, -1, 0);
        assert_eq!((cuDeviceGetCount(Out::to(&mut count)), count), (0, 1));
        assert_eq!(cuDeviceGet(Out::to(&mut device), 1), CudaStatus::InvalidDevice as u32);
        assert_eq!((cuDeviceGet(Out::to(&mut device), 0), device), (0, 0));
        assert_eq!(cuCtxSetCurrent(CONTEXT), CudaStatus::InvalidContext as u32);
        assert_eq!((cuDevicePrimaryCtxRetain(Out::to(&mut context), 0), context), (0, CONTEXT));
        assert_eq!((cuCtxSetCurrent(context), current()), (0, CONTEXT));
        names_and_attributes();
        memory_is_allocated_set_and_copied();
        copies_from_page_locked_memory_land_when_waited_for();
        streams_and_events();
        modules_and_functions();
        assert_eq!(cuDevicePrimaryCtxRelease_v2(0), 0);
        assert_eq!(cuDevicePrimaryCtxRelease_v2(0), CudaStatus::InvalidContext as u32);
        assert_eq!(cuCtxSynchronize(), CudaStatus::InvalidContext as u32);
    }
    set_current(0);
}

unsafe fn names_and_attributes() {
    let (mut name, mut value, mut words) = ([1i8; 9], 0, std::ptr::null());
    // SAFETY: every pointer refers to a local of the documented type and size.
    unsafe {
        assert_eq!(cuDeviceGetName(name.as_mut_ptr(), 9, 0), 0);
        assert_eq!(name.map(|letter| letter as u8), *b"Emulated\0");
        assert_eq!((cuDeviceGetAttribute(Out::to(&mut value), 75, 0), value), (0, 9));
        assert_eq!((cuDeviceGetAttribute(Out::to(&mut value), 97, 0), value), (0, 227 << 10));
        assert_eq!(cuDeviceGetAttribute(Out::to(&mut value), 999, 0), CudaStatus::InvalidValue as u32);
        assert_eq!(cuGetErrorName(700, Out::to(&mut words)), 0);
        assert_eq!(CStr::from_ptr(words), c"CUDA_ERROR_ILLEGAL_ADDRESS");
        assert_eq!((cuGetErrorString(12_345, Out::to(&mut words)), words.is_null()), (1, true));
    }
}

unsafe fn memory_is_allocated_set_and_copied() {
    let (mut a, mut b, mut back) = (0u64, 0u64, [0u8; 8]);
    // SAFETY: every host pointer refers to a local of at least the copied size.
    unsafe {
        assert_eq!(cuMemAllocAsync(Out::to(&mut a), 8, 0), 0);
        assert_eq!(cuMemAlloc_v2(Out::to(&mut b), 8), 0);
        assert_eq!(cuMemAlloc_v2(Out::to(&mut b), 0), CudaStatus::InvalidValue as u32);
        assert_eq!(cuMemAllocAsync(Out::to(&mut b), 1 << 60, 0), CudaStatus::OutOfMemory as u32);
        assert_eq!(cuMemcpyHtoDAsync_v2(a, [7u8; 8].as_ptr().cast(), 8, 0), 0);
        assert_eq!(cuMemsetD16Async(a + 2, 0x0201, 2, 0), 0);
        assert_eq!(cuMemsetD16Async(a + 1, 0, 1, 0), CudaStatus::InvalidValue as u32);
        assert_eq!(cuMemcpyDtoDAsync_v2(b, a, 8, 0), 0);
        assert_eq!(cuMemcpyDtoHAsync_v2(back.as_mut_ptr().cast(), b, 8, 0), 0);
        assert_eq!(back, [7, 7, 1, 2, 1, 2, 7, 7]);
        assert_eq!(cuMemcpyDtoHAsync_v2(std::ptr::null_mut(), b, 8, 0), CudaStatus::InvalidValue as u32);
        // Larger than all that other tests allocate or free at the same time.
        let mut large = 0u64;
        assert_eq!(cuMemAllocAsync(Out::to(&mut large), 32 << 20, 0), 0);
        let used = pool_attribute(7);
        assert_eq!(cuMemFreeAsync(large, 0), 0);
        assert!(pool_attribute(7) + (16 << 20) < used);
        assert_eq!(cuMemFreeAsync(large, 0), CudaStatus::InvalidValue as u32);
        assert_eq!(cuMemFreeAsync(a, 0), 0);
        assert_eq!((cuMemFree_v2(b), cuMemFree_v2(0)), (0, 0));
    }
}

unsafe fn copies_from_page_locked_memory_land_when_waited_for() {
    let (mut host, mut to, mut event, mut back) = (std::ptr::null_mut(), 0u64, 0usize, [0u8; 4]);
    // SAFETY: `host` is used for at most the four bytes allocated, and only until it is freed.
    unsafe {
        assert_eq!(cuMemHostAlloc(Out::to(&mut host), 4, 0), 0);
        assert_eq!(cuMemAllocAsync(Out::to(&mut to), 4, 0), 0);
        let bytes = host.cast::<u8>();
        bytes.write_bytes(1, 4);
        assert_eq!(cuEventCreate(Out::to(&mut event), 2), 0);
        assert_eq!((cuMemcpyHtoDAsync_v2(to, host, 2, 0), cuEventRecord(event, 0)), (0, 0));
        assert_eq!(cuMemcpyHtoDAsync_v2(to + 2, host, 2, 0), 0);
        assert_eq!(cuEventSynchronize(event), 0);
        // The first copy was completed by the wait, the second one copies the new contents.
        bytes.write_bytes(9, 4);
        assert_eq!(cuMemFreeHost(host), CudaStatus::InvalidValue as u32, "a copy is pending");
        assert_eq!(cuMemcpyDtoHAsync_v2(back.as_mut_ptr().cast(), to, 4, 0), 0);
        assert_eq!(back, [1, 1, 9, 9]);
        assert_eq!((cuMemFreeHost(host), cuEventDestroy_v2(event), cuMemFreeAsync(to, 0)), (0, 0, 0));
        assert_eq!(cuMemFreeHost(host), CudaStatus::InvalidValue as u32);
        assert_eq!(cuMemHostAlloc(Out::to(&mut host), 0, 0), CudaStatus::InvalidValue as u32);
    }
}

unsafe fn pool_attribute(number: u32) -> u64 {
    let (mut pool, mut value) = (0usize, 0u64);
    // SAFETY: every pointer refers to a local of the documented type.
    unsafe {
        assert_eq!(cuDeviceGetDefaultMemPool(Out::to(&mut pool), 0), 0);
        assert_eq!(cuMemPoolGetAttribute(pool, number, (&raw mut value).cast()), 0);
        assert_eq!(cuMemPoolGetAttribute(pool + 1, number, (&raw mut value).cast()), CudaStatus::InvalidValue as u32);
    }
    value
}

unsafe fn streams_and_events() {
    let (mut stream, mut untimed, mut time) = (0usize, 0usize, -1f32);
    let mut events = [0usize; 2];
    // SAFETY: every pointer refers to a local of the documented type.
    unsafe {
        assert_eq!(cuStreamCreate(Out::to(&mut stream), 1), 0);
        assert_eq!(cuStreamSynchronize(stream), 0);
        for event in &mut events {
            assert_eq!(cuEventCreate(Out::to(event), 0), 0);
        }
        assert_eq!(cuEventCreate(Out::to(&mut untimed), 2), 0);
        assert!(bad(cuEventElapsedTime_v2(Out::to(&mut time), events[0], events[1])), "not recorded yet");
        assert_eq!(cuEventRecord(events[0], stream), 0);
        std::thread::sleep(std::time::Duration::from_millis(3));
        assert_eq!((cuEventRecord(events[1], stream), cuEventRecord(untimed, stream)), (0, 0));
        assert_eq!(cuEventElapsedTime_v2(Out::to(&mut time), events[0], events[1]), 0);
        assert!((3.0..2000.0).contains(&time), "{time}");
        assert!(bad(cuEventElapsedTime_v2(Out::to(&mut time), events[0], untimed)));
        assert_eq!(cuStreamDestroy_v2(stream), 0);
        assert!(bad(cuStreamDestroy_v2(stream)) && bad(cuStreamSynchronize(stream)));
        assert!(bad(cuEventRecord(events[0], stream)) && bad(cuMemFreeAsync(0, stream)));
        assert_eq!(cuEventDestroy_v2(events[0]), 0);
        assert!(bad(cuEventSynchronize(events[0])) && bad(cuStreamWaitEvent(0, events[0], 0)));
    }
}

unsafe fn modules_and_functions() {
    let (mut module, mut function, mut again, mut value) = (0usize, 0usize, 0usize, 0 as c_int);
    // SAFETY: every pointer refers to a local of the documented type, every string is null-terminated.
    unsafe {
        assert_eq!(
            cuModuleLoadData(Out::to(&mut module), c"\x7fELF".as_ptr().cast()),
            CudaStatus::NoBinaryForGpu as u32
        );
        assert_eq!(cuModuleLoadData(Out::to(&mut module), PTX.as_ptr().cast::<c_void>()), 0);
        assert_eq!(
            cuModuleGetFunction(Out::to(&mut function), module, c"missing".as_ptr()),
            CudaStatus::NotFound as u32
        );
        assert_eq!(cuModuleGetFunction(Out::to(&mut function), module, c"nothing".as_ptr()), 0);
        assert_eq!(cuModuleGetFunction(Out::to(&mut again), module, c"nothing".as_ptr()), 0);
        assert_eq!(again, function);
        assert_eq!((cuFuncGetAttribute(Out::to(&mut value), 0, function), value), (0, 128));
        assert_eq!((cuFuncGetAttribute(Out::to(&mut value), 8, function), value), (0, 48 << 10));
        assert_eq!(cuFuncSetAttribute(function, 8, 228 << 10), CudaStatus::InvalidValue as u32);
        assert_eq!(cuFuncSetAttribute(function, 8, 227 << 10), 0);
        assert_eq!(cuModuleUnload(module), 0);
        assert!(bad(cuFuncSetAttribute(function, 8, 0)) && bad(cuModuleUnload(module)));
    }
}

#[test]
fn illegal_address_is_a_sticky_error() {
    let mut device = Device::new(Mode::Run);
    let address = memory::memory().allocate(100, Owner::Pool).unwrap();
    assert_eq!(device.check("a test", address + 40, 60), Ok(()));
    assert_eq!(device.check("a test", 0, 0), Ok(()));
    assert_eq!(device.ensure_alive(), Ok(()));
    assert_eq!(device.check("a test", address + 40, 61), Err(CudaStatus::IllegalAddress));
    assert_eq!(device.ensure_alive(), Err(CudaStatus::IllegalAddress));
    memory::memory().free(address);
    assert!(super::device::describe_address(1).contains("before every allocation"));
}
