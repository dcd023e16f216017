//! The HTTP service: one set of tasks, told in the words of several APIs. Knows the store, not the engine.

mod base_url;
mod dialects;
mod error;
mod health;
mod images;
mod outputs;
mod progress;
mod serve;
mod service;

pub use base_url::{InvalidUrl, PublicUrl};
pub use serve::serve;
pub use service::{DEFAULT_MAX_BODY, EngineStatus, ImageCheck, Service};
