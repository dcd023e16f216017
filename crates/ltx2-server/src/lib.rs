//! The HTTP service: one set of tasks, told in the words of several APIs. Knows the store, not the engine.

mod access;
mod base_url;
mod cors;
mod dialects;
mod error;
mod health;
mod images;
mod outbound;
mod outputs;
mod patience;
mod progress;
mod serve;
mod service;
mod webhooks;

pub use access::ApiKeys;
pub use base_url::{InvalidUrl, PublicUrl};
pub use cors::{CorsOrigins, InvalidOrigin};
pub use outbound::{AllowedNetworks, Fetcher};
pub use serve::{ConnectionLimits, serve};
pub use service::{BodyLimits, EngineActivity, EngineControl, EngineStatus, ImageCheck, RequestCheck, Service};
pub use webhooks::{InvalidSecret, Secret, WebhookRules, call_webhooks};
