//! Properties of a request that every dialect needs.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::api_keys::Principal;
use crate::base_url::base_url;
use crate::signed_url::UrlSigner;
use crate::state::Service;

/// Client of a request.
pub(crate) struct Caller {
    /// URLs for this client.
    pub(crate) urls: Urls,
    /// The client, if keys are required.
    pub(crate) principal: Option<Principal>,
}

/// URLs in responses to a client.
#[derive(Debug, Clone)]
pub(crate) struct Urls {
    /// URL of the server as the client reaches it, without a slash at the end.
    pub(crate) base: String,
    /// Signer of URLs.
    signer: UrlSigner,
    /// Whether routes need a key.
    needs_key: bool,
}

impl Urls {
    /// Returns the URL of `path`, a route without a key.
    pub(crate) fn open(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Returns the URL of `path`, which works for some time without a key.
    pub(crate) fn signed(&self, path: &str) -> String {
        if self.needs_key { self.expiring(path) } else { self.open(path) }
    }

    /// Returns the URL of `path`, a route that needs a signature, for some time.
    pub(crate) fn expiring(&self, path: &str) -> String {
        format!("{}{path}?{}", self.base, self.signer.query(path))
    }
}

impl FromRequestParts<Arc<Service>> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<Service>) -> Result<Self, Infallible> {
        let base = base_url(service.public_url.as_ref(), &parts.headers, &parts.uri);
        let (signer, needs_key) = (service.api_keys.signer().clone(), !service.api_keys.is_empty());
        Ok(Self { urls: Urls { base, signer, needs_key }, principal: parts.extensions.get().cloned() })
    }
}
