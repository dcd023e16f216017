//! A CUDA driver without a GPU, for tests: a shared library that replaces `libcuda.so.1`, cuBLAS and cuRAND, so that a
//! program built for a GPU runs unchanged.
//!
//! In `Mode::Run`, kernels are executed from their PTX by an interpreter that steps warps of 32
//! lanes, and every memory access is checked against the allocations. In `Mode::Count`, nothing is executed; launches,
//! copies, matrix products and device memory are counted. Execution times of a GPU are not modelled.

mod cublas;
mod curand;
mod driver;
mod machine;
mod memory;
mod ptx;
mod random;
mod report;
mod settings;
