//! Calls at the end of a task, after Standard Webhooks: signed, and repeated until the receiver accepts them.

mod call;
mod sign;

pub use call::call_webhooks;
pub use sign::{InvalidSecret, Secret};

use crate::AllowedNetworks;

/// Secret and receivers of webhooks.
#[derive(Debug, Clone)]
pub struct WebhookRules {
    /// Secret for the signatures.
    pub secret: Secret,
    /// Networks that may be called besides public addresses.
    pub allowed: AllowedNetworks,
}
