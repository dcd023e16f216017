//! Structure of the workspace: which crate may import which, and no import cycles between modules.

mod crates;
mod modules;
mod source;
