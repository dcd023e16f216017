//! Telling others that a task has ended, in the form of Standard Webhooks: signed, and repeated until it is heard.

mod call;
mod sign;

pub use call::call_webhooks;
pub use sign::{InvalidSecret, Secret};

use crate::AllowedNetworks;

/// Whom the server may call, and with which signature.
#[derive(Debug, Clone)]
pub struct WebhookRules {
    /// What the calls are signed with.
    pub secret: Secret,
    /// Whom beside the public.
    pub allowed: AllowedNetworks,
}
