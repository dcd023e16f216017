//! Modules of kernels, and their functions.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::Arc;

use super::attributes::{BLOCK, SHARED, SHARED_OPT_IN};
use super::call::{Out, driver};
use super::device::Device;
use super::status::{Result, Status};
use crate::machine::{Kernel, Module};
use crate::settings::settings;

/// A module, and the handles of the functions that were asked for.
pub(crate) struct LoadedModule {
    pub(super) module: Module,
    pub(super) functions: HashMap<String, usize>,
}

/// A kernel of a module.
pub(crate) struct Function {
    pub(crate) kernel: Arc<Kernel>,
    /// Most bytes of dynamic shared memory.
    pub(crate) dynamic: u32,
    pub(super) module: usize,
}

/// Attributes of a function, by number.
mod attribute {
    pub(super) const MAX_THREADS: u32 = 0;
    pub(super) const SHARED: u32 = 1;
    pub(super) const MAX_DYNAMIC: u32 = 8;
    pub(super) const CARVEOUT: u32 = 9;
}

/// Whether a card of this capability may load PTX: what multiplies by warpgroups is for Hopper alone. A target that only says
/// what a build was made for does not count, so that one build can be tried as several cards.
fn is_for(text: &str, capability: (i32, i32)) -> bool {
    capability == (9, 0) || !text.contains("wgmma.")
}

fn load(device: &mut Device, handle: Out<usize>, image: &[u8]) -> Result {
    let text = std::str::from_utf8(image).ok().filter(|text| text.contains(".version") && text.contains(".target"));
    let Some(text) = text else {
        eprintln!("emulator: a module is not PTX text, and nothing else can be run");
        return Err(Status::NoBinaryForGpu);
    };
    if !is_for(text, settings().capability) {
        eprintln!("emulator: a module has instructions of Hopper alone");
        return Err(Status::NoBinaryForGpu);
    }
    let module = Module::load(text).map_err(|why| {
        eprintln!("emulator: a module cannot be read: {why}");
        Status::InvalidPtx
    })?;
    handle.put(device.modules.insert(LoadedModule { module, functions: HashMap::new() }))
}

fn function(device: &mut Device, handle: usize, name: &str) -> Result<usize> {
    let loaded = device.modules.get_mut(handle)?;
    if let Some(function) = loaded.functions.get(name) {
        return Ok(*function);
    }
    let kernel = loaded.module.kernel(name).ok_or(Status::NotFound)?;
    let dynamic = SHARED.saturating_sub(kernel.shared);
    let function = device.functions.insert(Function { kernel, dynamic, module: handle });
    loaded.functions.insert(name.to_owned(), function);
    Ok(function)
}

/// A caller's text.
///
/// # Safety
/// `text` is null or a text with a zero at its end that lives as long as the result is used.
unsafe fn text<'a>(text: *const c_char) -> Result<&'a CStr> {
    if text.is_null() {
        return Err(Status::InvalidValue);
    }
    // SAFETY: as the caller says.
    Ok(unsafe { CStr::from_ptr(text) })
}

driver! {
    /// Reads a module from PTX text.
    fn cuModuleLoadData(module: Out<usize>, image: *const c_void) -> Context |device| {
        // SAFETY: an image is a text with a zero at its end, or one of the binary formats, which have zeros in their headers.
        let image = unsafe { text(image.cast()) }?;
        load(device, module, image.to_bytes())
    }

    /// Reads a module from a file.
    fn cuModuleLoad(module: Out<usize>, path: *const c_char) -> Context |device| {
        // SAFETY: a path is a text with a zero at its end.
        let path = unsafe { text(path) }?.to_str().map_err(|_| Status::InvalidValue)?;
        let image = std::fs::read(path).map_err(|_| Status::FileNotFound)?;
        load(device, module, &image)
    }

    /// Ends a module and its functions.
    fn cuModuleUnload(module: usize) -> Context |device| {
        device.modules.remove(module)?;
        device.functions.retain(|function| function.module != module);
        Ok(())
    }

    /// A kernel by name.
    fn cuModuleGetFunction(handle: Out<usize>, module: usize, name: *const c_char) -> Context |device| {
        // SAFETY: a name is a text with a zero at its end.
        let name = unsafe { text(name) }?.to_str().map_err(|_| Status::NotFound)?;
        handle.put(function(device, module, name)?)
    }

    /// A global's address and bytes by name.
    fn cuModuleGetGlobal_v2(
        address: Out<u64>, bytes: Out<usize>, module: usize, name: *const c_char,
    ) -> Context |device| {
        // SAFETY: a name is a text with a zero at its end.
        let name = unsafe { text(name) }?.to_str().map_err(|_| Status::NotFound)?;
        let (at, size) = device.modules.get(module)?.module.global(name).ok_or(Status::NotFound)?;
        address.put_if_wanted(at)?;
        bytes.put_if_wanted(size)
    }

    /// A number about a kernel. Registers are not known.
    fn cuFuncGetAttribute(value: Out<c_int>, number: c_uint, function: usize) -> Context |device| {
        let function = device.functions.get(function)?;
        value.put(match number {
            attribute::MAX_THREADS => function.kernel.max_threads.unwrap_or(BLOCK.0) as c_int,
            attribute::SHARED => function.kernel.shared as c_int,
            attribute::MAX_DYNAMIC => function.dynamic as c_int,
            _ => return Err(Status::NotSupported),
        })
    }

    /// Allows a kernel more dynamic shared memory. How the cache is split changes nothing here.
    fn cuFuncSetAttribute(function: usize, number: c_uint, value: c_int) -> Context |device| {
        let function = device.functions.get_mut(function)?;
        match number {
            attribute::CARVEOUT => Ok(()),
            attribute::MAX_DYNAMIC => {
                let bytes = u32::try_from(value).map_err(|_| Status::InvalidValue)?;
                if bytes > SHARED_OPT_IN - function.kernel.shared {
                    eprintln!("emulator: {} may not have {bytes} bytes of shared memory", function.kernel.name);
                    return Err(Status::InvalidValue);
                }
                function.dynamic = bytes;
                Ok(())
            }
            _ => Err(Status::InvalidValue),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_for;

    #[test]
    fn products_of_warpgroups_are_for_hopper_alone() {
        let text = ".version 9.0\n.target sm_90a\n wgmma.fence.sync.aligned;";
        assert!(is_for(text, (9, 0)) && !is_for(text, (8, 0)) && !is_for(text, (10, 0)));
        assert!(is_for(".version 9.0\n.target sm_90a\n", (8, 0)));
    }
}
