//! `ltx2 serve` as a process: what it makes, and what it survives.

mod bombs;
#[path = "../common/mod.rs"]
mod common;
mod crashes;
mod disk_full;
mod server;
mod videos;
mod weeks;
