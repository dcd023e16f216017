//! Properties of a request that every dialect needs.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::api_keys::Principal;
use crate::base_url::base_url;
use crate::state::Service;

/// Client of a request.
pub(crate) struct Caller {
    /// URL of the server as this client reaches it, without a slash at the end.
    pub(crate) base_url: String,
    /// The client, if keys are required.
    pub(crate) principal: Option<Principal>,
}

impl FromRequestParts<Arc<Service>> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<Service>) -> Result<Self, Infallible> {
        let base_url = base_url(service.public_url.as_ref(), &parts.headers, &parts.uri);
        Ok(Self { base_url, principal: parts.extensions.get().cloned() })
    }
}
