//! Modules and functions.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use super::attributes::{MAX_BLOCK_THREADS, SHARED_MEMORY, SHARED_MEMORY_OPT_IN};
use super::call::{Out, driver};
use super::device::Device;
use super::objects::{Function, LoadedModule};
use super::status::{CudaStatus, Result};
use crate::machine::Module;
use crate::settings::settings;

/// Values of `CUfunction_attribute`.
mod attribute {
    pub(super) const MAX_THREADS: u32 = 0;
    pub(super) const SHARED: u32 = 1;
    pub(super) const MAX_DYNAMIC: u32 = 8;
    pub(super) const CARVEOUT: u32 = 9;
}

/// Whether a device of this compute capability can load PTX: `wgmma` instructions exist on Hopper only. The `.target`
/// directive is ignored, so that one build can be tested with several capabilities.
fn can_load(text: &str, capability: (i32, i32)) -> bool {
    capability == (9, 0) || !text.contains("wgmma.")
}

fn load(device: &mut Device, handle: Out<usize>, image: &[u8]) -> Result {
    let text = std::str::from_utf8(image).ok().filter(|text| text.contains(".version") && text.contains(".target"));
    let Some(text) = text else {
        eprintln!("emulator: module rejected: expected PTX text; cubin and fatbin images are not supported");
        return Err(CudaStatus::NoBinaryForGpu);
    };
    if !can_load(text, settings().capability) {
        eprintln!("emulator: module rejected: it contains wgmma instructions, which require compute capability 9.0");
        return Err(CudaStatus::NoBinaryForGpu);
    }
    let module = Module::load(text).map_err(|reason| {
        eprintln!("emulator: module rejected: {reason}");
        CudaStatus::InvalidPtx
    })?;
    handle.write(device.modules.insert(LoadedModule { module, functions: HashMap::new() }))
}

fn function(device: &mut Device, handle: usize, name: &str) -> Result<usize> {
    let loaded = device.modules.get_mut(handle)?;
    if let Some(function) = loaded.functions.get(name) {
        return Ok(*function);
    }
    let kernel = loaded.module.kernel(name).ok_or(CudaStatus::NotFound)?;
    let max_dynamic_shared = SHARED_MEMORY.saturating_sub(kernel.shared);
    let function = device.functions.insert(Function { kernel, max_dynamic_shared, module: handle });
    loaded.functions.insert(name.to_owned(), function);
    Ok(function)
}

/// Borrows a C string argument.
///
/// # Safety
/// `text` is null or a null-terminated string that outlives `'a`.
unsafe fn c_string<'a>(text: *const c_char) -> Result<&'a CStr> {
    if text.is_null() {
        return Err(CudaStatus::InvalidValue);
    }
    // SAFETY: `text` is not null, and the caller guarantees a null-terminated string that outlives `'a`.
    Ok(unsafe { CStr::from_ptr(text) })
}

driver! {
    /// Loads a module from PTX text in memory.
    fn cuModuleLoadData(module: Out<usize>, image: *const c_void) -> Context |device| {
        // SAFETY: a module image is null-terminated text, or a binary format whose header contains a null byte.
        let image = unsafe { c_string(image.cast()) }?;
        load(device, module, image.to_bytes())
    }

    /// Loads a module from a PTX file.
    fn cuModuleLoad(module: Out<usize>, path: *const c_char) -> Context |device| {
        // SAFETY: the caller passes a null-terminated path.
        let path = unsafe { c_string(path) }?.to_str().map_err(|_| CudaStatus::InvalidValue)?;
        let image = std::fs::read(path).map_err(|_| CudaStatus::FileNotFound)?;
        load(device, module, &image)
    }

    /// Unloads a module and its functions.
    fn cuModuleUnload(module: usize) -> Context |device| {
        device.modules.remove(module)?;
        device.functions.retain(|function| function.module != module);
        Ok(())
    }

    /// Returns the handle of a kernel by name.
    fn cuModuleGetFunction(handle: Out<usize>, module: usize, name: *const c_char) -> Context |device| {
        // SAFETY: the caller passes a null-terminated name.
        let name = unsafe { c_string(name) }?.to_str().map_err(|_| CudaStatus::NotFound)?;
        handle.write(function(device, module, name)?)
    }

    /// Returns the address and the size of a global variable by name.
    fn cuModuleGetGlobal_v2(
        address: Out<u64>, bytes: Out<usize>, module: usize, name: *const c_char,
    ) -> Context |device| {
        // SAFETY: the caller passes a null-terminated name.
        let name = unsafe { c_string(name) }?.to_str().map_err(|_| CudaStatus::NotFound)?;
        let (at, size) = device.modules.get(module)?.module.global(name).ok_or(CudaStatus::NotFound)?;
        address.write_optional(at)?;
        bytes.write_optional(size)
    }

    /// Returns an attribute of a kernel. Register counts are not known.
    fn cuFuncGetAttribute(value: Out<c_int>, number: c_uint, function: usize) -> Context |device| {
        let function = device.functions.get(function)?;
        value.write(match number {
            attribute::MAX_THREADS => function.kernel.max_threads.unwrap_or(MAX_BLOCK_THREADS) as c_int,
            attribute::SHARED => function.kernel.shared as c_int,
            attribute::MAX_DYNAMIC => function.max_dynamic_shared as c_int,
            _ => return Err(CudaStatus::NotSupported),
        })
    }

    /// Sets an attribute of a kernel: its limit of dynamic shared memory. The cache carve-out is ignored.
    fn cuFuncSetAttribute(function: usize, number: c_uint, value: c_int) -> Context |device| {
        let function = device.functions.get_mut(function)?;
        match number {
            attribute::CARVEOUT => Ok(()),
            attribute::MAX_DYNAMIC => {
                let bytes = u32::try_from(value).map_err(|_| CudaStatus::InvalidValue)?;
                if bytes > SHARED_MEMORY_OPT_IN - function.kernel.shared {
                    let name = &function.kernel.name;
                    eprintln!("emulator: {name}: {bytes} bytes of dynamic shared memory exceed the device's limit");
                    return Err(CudaStatus::InvalidValue);
                }
                function.max_dynamic_shared = bytes;
                Ok(())
            }
            _ => Err(CudaStatus::InvalidValue),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::can_load;

    #[test]
    fn wgmma_requires_hopper() {
        let text = ".version 9.0\n.target sm_90a\n wgmma.fence.sync.aligned;";
        assert!(can_load(text, (9, 0)) && !can_load(text, (8, 0)) && !can_load(text, (10, 0)));
        assert!(can_load(".version 9.0\n.target sm_90a\n", (8, 0)));
    }
}
