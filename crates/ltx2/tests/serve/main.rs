//! `ltx2 serve` as a process: results, crashes, hostile requests and long operation.

mod bombs;
#[path = "../common/mod.rs"]
mod common;
mod crashes;
mod disk_full;
mod operation;
mod server;
mod videos;
