//! HTTP service: API dialects over one set of use cases and one task store. Knows the store, not the engine.
//!
//! A dialect (`dialects/`) parses its wire format and renders results; the use cases (`service/`) are independent of
//! dialects.

mod access;
mod api_keys;
mod base_url;
mod body;
mod body_timeout;
mod caller;
mod content_encoding;
mod cors;
mod dialects;
mod error;
mod health;
mod outbound;
mod outputs;
mod query;
mod routes;
mod serve;
mod service;
mod signed_url;
mod state;
mod webhooks;

pub use api_keys::ApiKeys;
pub use base_url::{InvalidUrl, PublicUrl};
pub use cors::{CorsOrigins, InvalidOrigin};
pub use outbound::{AllowedNetworks, Fetcher};
pub use routes::router;
pub use serve::{ConnectionLimits, serve};
pub use state::{
    BodyLimits, EngineActivity, EngineControl, EngineStatus, ImageCheck, LoraList, ModelInfo, RequestPlanner, Service,
    SourceFile, SourceProbe,
};
pub use webhooks::{InvalidSecret, Secret, WebhookRules, call_webhooks};
