//! Authentication by API key.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri, header};
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
    if !keys.is_empty() && !is_signed(&keys, request.uri()) {
        let principal = keys.authenticate(&offered_keys(request.headers())).ok_or_else(ApiError::unauthorized)?;
        request.extensions_mut().insert(principal);
    }
    Ok(next.run(request).await)
}

/// Whether `uri` has a valid signature.
pub(crate) fn is_signed(keys: &ApiKeys, uri: &Uri) -> bool {
    keys.signer().admits(uri.path(), uri.query().unwrap_or_default())
}

/// Headers whose value is a key: the native API's, and that of hosted APIs behind a gateway.
const KEY_HEADERS: [&str; 2] = ["x-api-key", "ocp-apim-subscription-key"];

/// Returns every part of `headers` that may be a key. `Authorization` has the scheme `Bearer`, `Key` or `Basic`. A pair
/// of a key and a secret counts as both, and as the pair with its colon.
fn offered_keys(headers: &HeaderMap) -> Vec<Vec<u8>> {
    let named = KEY_HEADERS.iter().flat_map(|name| headers.get_all(*name));
    let mut keys: Vec<Vec<u8>> = named.map(|key| key.as_bytes().to_vec()).collect();
    for value in headers.get_all(header::AUTHORIZATION) {
        let Some((scheme, rest)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else { continue };
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            keys.push(rest.as_bytes().to_vec());
        } else if scheme.eq_ignore_ascii_case("key") {
            push_pair(&mut keys, rest.as_bytes().to_vec());
        } else if scheme.eq_ignore_ascii_case("basic")
            && let Ok(pair) = STANDARD.decode(rest)
        {
            push_pair(&mut keys, pair);
        }
    }
    keys
}

/// Adds both parts of `pair`, if it has a colon, and `pair` itself.
fn push_pair(keys: &mut Vec<Vec<u8>>, pair: Vec<u8>) {
    if let Some(colon) = pair.iter().position(|&byte| byte == b':') {
        keys.push(pair[..colon].to_vec());
        keys.push(pair[colon + 1..].to_vec());
    }
    keys.push(pair);
}
