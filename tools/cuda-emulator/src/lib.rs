//! A CUDA driver without a card, for tests and rehearsals on a machine that has none: a library that stands in for
//! `libcuda.so.1`, cuBLAS and cuRAND, so that a program built for a GPU runs unchanged.
//!
//! Kernels are run as they are given to a real driver, as PTX, by an interpreter that steps warps of 32 lanes through it:
//! launches, arguments, addresses, barriers and arithmetic are the true ones. Every access is checked against the
//! allocations. Or nothing is run and only counted: launches, bytes and products, and the memory in use at the highest.
//! It says what a program asks of a card and whether that is right, and nothing about how long a card takes.

mod cublas;
mod curand;
mod driver;
mod machine;
mod memory;
mod ptx;
mod report;
mod settings;
