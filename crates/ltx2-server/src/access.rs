//! Who may use the server: whoever has one of its keys, or everybody where there are none.

use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::Service;
use crate::error::ApiError;

/// The keys that let clients in, as hashes: equally long, so that comparing tells nothing, not even a length.
#[derive(Clone, Default)]
pub struct ApiKeys(Vec<[u8; 32]>);

impl ApiKeys {
    /// Keys from configuration; without any, everybody is let in.
    pub fn new(keys: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self(keys.into_iter().map(|key| hash(key.as_ref().as_bytes())).collect())
    }

    /// Whether everybody is let in.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All are compared with all, so that the time taken does not depend on which one fits.
    fn admit(&self, offered: &[Vec<u8>]) -> bool {
        let hashes = offered.iter().map(|key| hash(key));
        let fits = |offered: [u8; 32]| {
            self.0.iter().fold(Choice::from(0), |found, key| found | key.as_slice().ct_eq(&offered))
        };
        hashes.fold(Choice::from(0), |found, offered| found | fits(offered)).into()
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} API keys", self.0.len())
    }
}

fn hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// Lets through who has a key.
pub(crate) async fn guard(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if service.api_keys.is_empty() || service.api_keys.admit(&offered(request.headers())) {
        return Ok(next.run(request).await);
    }
    Err(ApiError::Unauthorized)
}

/// Everything in `headers` that may be a key. Of `Authorization: Basic` it is the user, the password, and both with the
/// colon between them, since clients have a key and a secret there.
fn offered(headers: &HeaderMap) -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = headers.get_all("x-api-key").iter().map(|key| key.as_bytes().to_vec()).collect();
    for value in headers.get_all(header::AUTHORIZATION) {
        let Some((scheme, rest)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else { continue };
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            keys.push(rest.as_bytes().to_vec());
        } else if scheme.eq_ignore_ascii_case("basic")
            && let Ok(pair) = STANDARD.decode(rest)
        {
            if let Some(colon) = pair.iter().position(|&byte| byte == b':') {
                keys.push(pair[..colon].to_vec());
                keys.push(pair[colon + 1..].to_vec());
            }
            keys.push(pair);
        }
    }
    keys
}
