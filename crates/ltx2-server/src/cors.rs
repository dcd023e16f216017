//! Cross-origin access from web pages.

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// Origins of web pages that may read responses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CorsOrigins {
    /// Only the server's own.
    #[default]
    None,
    /// Every origin.
    Any,
    /// The listed origins.
    Some(Vec<HeaderValue>),
}

/// Error for a text that is not an origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an origin; expected * or http://host:3000")]
pub struct InvalidOrigin(String);

impl CorsOrigins {
    /// Parses the origins of a configuration; `*` is every origin.
    pub fn parse(origins: &[String]) -> Result<Self, InvalidOrigin> {
        if origins.is_empty() {
            return Ok(Self::None);
        }
        if origins.iter().any(|origin| origin == "*") {
            return Ok(Self::Any);
        }
        let parse = |origin: &String| {
            let has_scheme = ["http://", "https://"].iter().any(|scheme| origin.starts_with(scheme));
            let is_bare = origin.matches('/').count() == 2;
            let value = HeaderValue::from_str(origin).ok().filter(|_| has_scheme && is_bare);
            value.ok_or_else(|| InvalidOrigin(origin.clone()))
        };
        Ok(Self::Some(origins.iter().map(parse).collect::<Result<_, _>>()?))
    }

    pub(crate) fn layer(&self) -> CorsLayer {
        let origins = match self {
            Self::None => return CorsLayer::new(),
            Self::Any => AllowOrigin::any(),
            Self::Some(origins) => AllowOrigin::list(origins.iter().cloned()),
        };
        let exposed: [HeaderName; 5] = [
            header::RETRY_AFTER,
            header::CONTENT_DISPOSITION,
            header::ETAG,
            header::CONTENT_RANGE,
            HeaderName::from_static("x-task-id"),
        ];
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(exposed)
    }
}
