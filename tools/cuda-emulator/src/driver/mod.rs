//! The functions of `libcuda.so.1` that programs built with cudarc call.

mod attributes;
pub(crate) mod call;
mod context;
mod copies;
pub(crate) mod device;
mod events;
mod handles;
mod host_memory;
mod launch;
mod modules;
pub(crate) mod objects;
mod pinned;
mod pool;
pub(crate) mod status;
mod streams;
pub(crate) mod unsupported;

#[cfg(test)]
mod tests;
