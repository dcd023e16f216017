//! The functions of cuRAND that candle calls. The values have the requested distribution, but differ from those of
//! cuRAND.

use std::ffi::{c_int, c_ulonglong};

use crate::driver::call::{Out, Requires, call};
use crate::driver::device::Device;
use crate::driver::status::{CudaStatus, Result};
use crate::driver::unsupported::unsupported;
use crate::random::RandomGenerator;
use crate::settings::Mode;

/// Values of `curandStatus_t`.
mod code {
    pub(super) const NOT_INITIALIZED: u32 = 101;
    pub(super) const LENGTH_NOT_MULTIPLE: u32 = 105;
    pub(super) const INITIALIZATION_FAILED: u32 = 203;
    pub(super) const LAUNCH_FAILURE: u32 = 201;
}

fn run(name: &str, body: impl FnOnce(&mut Device) -> Result) -> u32 {
    match call(name, Requires::Context, body) {
        Ok(()) => 0,
        Err(CudaStatus::InvalidHandle) => code::NOT_INITIALIZED,
        Err(_) => code::INITIALIZATION_FAILED,
    }
}

/// Fills device memory with random values, generated in pairs.
fn fill<T: Copy>(
    name: &str,
    generator: usize,
    to: u64,
    count: usize,
    pair: impl Fn(&mut RandomGenerator) -> [T; 2],
) -> u32 {
    if !count.is_multiple_of(2) {
        return code::LENGTH_NOT_MULTIPLE;
    }
    run(name, |device| {
        let mut state = *device.generators.get(generator)?;
        device.check("random state", to, count.checked_mul(size_of::<T>()).ok_or(CudaStatus::InvalidValue)?)?;
        if !to.is_multiple_of(align_of::<T>() as u64) {
            return Err(CudaStatus::InvalidValue);
        }
        if device.mode == Mode::Run {
            for i in 0..count / 2 {
                // SAFETY: the range was checked to lie within one allocation, and is aligned for `T`.
                unsafe { (to as *mut [T; 2]).add(i).write(pair(&mut state)) };
            }
        }
        *device.generators.get_mut(generator)? = state;
        Ok(())
    })
}

/// Creates a generator.
///
/// # Safety
/// Same contract as the cuRAND function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn curandCreateGenerator(generator: Out<usize>, _kind: c_int) -> u32 {
    run("curandCreateGenerator", |device| {
        let handle = device.generators.insert(RandomGenerator(0));
        generator.write(handle)
    })
}

/// Destroys a generator.
#[unsafe(no_mangle)]
pub extern "C" fn curandDestroyGenerator(generator: usize) -> u32 {
    run("curandDestroyGenerator", |device| device.generators.remove(generator).map(drop))
}

/// Sets the seed of a generator.
#[unsafe(no_mangle)]
pub extern "C" fn curandSetPseudoRandomGeneratorSeed(generator: usize, seed: c_ulonglong) -> u32 {
    run("curandSetPseudoRandomGeneratorSeed", |device| {
        *device.generators.get_mut(generator)? = RandomGenerator(seed);
        Ok(())
    })
}

/// Sets the stream of a generator.
#[unsafe(no_mangle)]
pub extern "C" fn curandSetStream(generator: usize, stream: usize) -> u32 {
    run("curandSetStream", |device| {
        device.stream(stream)?;
        device.generators.get(generator).map(|_| ())
    })
}

/// Generates an even number of normally distributed values.
#[unsafe(no_mangle)]
pub extern "C" fn curandGenerateNormal(generator: usize, to: u64, count: usize, mean: f32, deviation: f32) -> u32 {
    fill("curandGenerateNormal", generator, to, count, |state| state.normal().map(|x| mean + deviation * x as f32))
}

/// Generates an even number of normally distributed values.
#[unsafe(no_mangle)]
pub extern "C" fn curandGenerateNormalDouble(
    generator: usize,
    to: u64,
    count: usize,
    mean: f64,
    deviation: f64,
) -> u32 {
    fill("curandGenerateNormalDouble", generator, to, count, |state| state.normal().map(|x| mean + deviation * x))
}

unsupported! { code::LAUNCH_FAILURE;
    curandGenerate curandGenerateLogNormal curandGenerateLogNormalDouble curandGenerateLongLong curandGeneratePoisson
    curandGenerateUniform curandGenerateUniformDouble curandSetGeneratorOffset
}
