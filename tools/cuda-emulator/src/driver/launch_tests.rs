use std::collections::HashMap;

use super::*;
use crate::driver::objects::LoadedModule;
use crate::machine::Module;
use crate::memory::Owner;

const PTX: &str = "\
.version 8.0
.target sm_80
.address_size 64

.visible .entry work(
	.param .u64 work_param_0,
	.param .u32 work_param_1,
	.param .u64 work_param_2
)
.maxntid 256, 1, 1
{
	ret;
}
";

/// Returns a device in counting mode and the handle of the kernel `work`.
fn device() -> (Device, usize) {
    let mut device = Device::new(Mode::Count);
    let module = Module::load(PTX).unwrap();
    let kernel = module.kernel("work").unwrap();
    let module = device.modules.insert(LoadedModule { module, functions: HashMap::new() });
    let function = device.functions.insert(Function { kernel, max_dynamic_shared: 48 << 10, module });
    (device, function)
}

fn launch_size(grid: [u32; 3], block: [u32; 3], shared: u32) -> LaunchSize {
    LaunchSize { grid, block, shared }
}

#[test]
fn launch_counts_bytes_reachable_from_pointer_parameters() {
    let (mut device, function) = device();
    let [first, second] = [1000, 300].map(|bytes| memory::memory().allocate(bytes, Owner::Pool).unwrap());
    // The second parameter is 32 bits wide and must not be taken for an address.
    let (a, number, b) = (first + 100, first as u32, second);
    let params = [(&raw const a).cast::<c_void>(), (&raw const number).cast(), (&raw const b).cast()];
    launch(&mut device, function, launch_size([2, 3, 1], [32, 4, 1], 0), params.as_ptr()).unwrap();
    let report = device.report.json(None);
    let row = &report["phases"][0]["rows"][0];
    assert_eq!((row["name"].as_str(), row["calls"].as_u64()), (Some("work"), Some(1)));
    assert_eq!((row["threads"].as_u64(), row["bytes"].as_u64()), (Some(6 * 128), Some(900 + 300)));
    memory::memory().free(first);
    memory::memory().free(second);
}

#[test]
fn launches_beyond_device_limits_are_rejected() {
    let (mut device, function) = device();
    let value = 0u64;
    let params = [(&raw const value).cast::<c_void>(); 3];
    let mut answer = |launch_size| launch(&mut device, function, launch_size, params.as_ptr()).err();
    assert_eq!(answer(launch_size([1 << 20, 65_535, 1], [256, 1, 1], 48 << 10)), None);
    for (grid, block, shared) in [
        ([0, 1, 1], [1, 1, 1], 0),
        ([1, 65_536, 1], [1, 1, 1], 0),
        ([1, 1, 65_536], [1, 1, 1], 0),
        ([1, 1, 1], [0, 1, 1], 0),
        ([1, 1, 1], [1, 1, 65], 0),
        ([1, 1, 1], [64, 17, 1], 0),
        ([1, 1, 1], [1, 1, 1], (48 << 10) + 1),
    ] {
        assert_eq!(
            answer(launch_size(grid, block, shared)),
            Some(CudaStatus::InvalidValue),
            "{grid:?} {block:?} {shared}"
        );
    }
    assert_eq!(answer(launch_size([1, 1, 1], [257, 1, 1], 0)), Some(CudaStatus::LaunchOutOfResources));
    let missing = [params[0], std::ptr::null(), params[2]];
    let once = launch_size([1, 1, 1], [1, 1, 1], 0);
    assert_eq!(launch(&mut device, function, once, missing.as_ptr()), Err(CudaStatus::InvalidValue));
    assert_eq!(launch(&mut device, function + 1, once, params.as_ptr()), Err(CudaStatus::InvalidHandle));
    assert_eq!(device.ensure_alive(), Ok(()), "a rejected launch does not lose the device");
}
