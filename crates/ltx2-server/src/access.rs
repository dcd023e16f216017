//! Authentication by API key.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::api_keys::ApiKeys;
use crate::error::ApiError;

/// Middleware that admits clients with one of `keys`, and adds their [`Principal`](crate::api_keys::Principal) to the
/// request. A signed URL admits any client to its path.
pub(crate) async fn authenticate(
    State(keys): State<Arc<ApiKeys>>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if let Some(signer) = keys.signer()
        && !signer.admits(request.uri().path(), request.uri().query().unwrap_or_default())
    {
        let principal = keys.authenticate(&offered_keys(request.headers())).ok_or_else(ApiError::unauthorized)?;
        request.extensions_mut().insert(principal);
    }
    Ok(next.run(request).await)
}

/// Returns every part of `headers` that may be a key. For `Authorization: Basic` these are the user, the password, and
/// the pair with its colon, because clients send a key and a secret there.
fn offered_keys(headers: &HeaderMap) -> Vec<Vec<u8>> {
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
