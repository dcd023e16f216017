//! Code shared by the fuzz targets.

mod models;
mod server;

pub use models::{Folder, build_all, join, read_all};
pub use server::{MAX_PIXELS, Server};
