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
    /// Signer of URLs that need a key; `None` if no route does.
    signer: Option<UrlSigner>,
}

impl Urls {
    /// Returns the URL of `path`, a route without a key.
    pub(crate) fn open(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Returns the URL of `path`, which works for some time without a key.
    pub(crate) fn signed(&self, path: &str) -> String {
        match &self.signer {
            Some(signer) => format!("{}{path}?{}", self.base, signer.query(path)),
            None => self.open(path),
        }
    }
}

impl FromRequestParts<Arc<Service>> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<Service>) -> Result<Self, Infallible> {
        let base = base_url(service.public_url.as_ref(), &parts.headers, &parts.uri);
        let signer = service.api_keys.signer().cloned();
        Ok(Self { urls: Urls { base, signer }, principal: parts.extensions.get().cloned() })
    }
}
