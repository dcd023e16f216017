//! Client for files that requests name by URL.

use std::time::Duration;

use axum::body::Bytes;
use reqwest::{Client, Response, StatusCode, Url, header};

use super::AllowedNetworks;

/// Time for a fetch, redirects included.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum number of redirects.
const MAX_REDIRECTS: usize = 5;

/// Client that fetches files of limited size from public and allowed addresses.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client,
    allowed: AllowedNetworks,
    max_bytes: usize,
}

impl Fetcher {
    /// Returns a client for files of up to `max_bytes`.
    ///
    /// # Errors
    /// If the TLS root certificates of the system cannot be read.
    pub fn new(allowed: AllowedNetworks, max_bytes: usize) -> Result<Self, reqwest::Error> {
        Ok(Self { client: allowed.client(TIMEOUT)?, allowed, max_bytes })
    }

    /// Returns the bytes at `url`.
    ///
    /// # Errors
    /// The reason, as the end of "the URL is ..., but".
    pub(crate) async fn fetch(&self, url: &str) -> Result<Bytes, String> {
        let url = self.allowed.check(url)?;
        match tokio::time::timeout(TIMEOUT, self.follow(url)).await {
            Ok(fetched) => fetched,
            Err(_) => Err(format!("it took longer than {} s", TIMEOUT.as_secs())),
        }
    }

    async fn follow(&self, mut url: Url) -> Result<Bytes, String> {
        for _ in 0..=MAX_REDIRECTS {
            let response = self.client.get(url.clone()).send().await.map_err(|error| reason(&error))?;
            let Some(next) = redirect_target(&response, &url)? else { return self.body(response).await };
            // The target is checked like the URL of the request.
            self.allowed.check_url(&next)?;
            url = next;
        }
        Err(format!("it redirects more than {MAX_REDIRECTS} times"))
    }

    async fn body(&self, mut response: Response) -> Result<Bytes, String> {
        if response.status() != StatusCode::OK {
            return Err(format!("it answers {}", response.status()));
        }
        let too_large = || format!("it has more than {} bytes, the limit of this server", self.max_bytes);
        if response.content_length().is_some_and(|length| length > self.max_bytes as u64) {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| reason(&error))? {
            if bytes.len() + chunk.len() > self.max_bytes {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.into())
    }
}

/// Returns the target of a redirect; `None` for other responses.
fn redirect_target(response: &Response, url: &Url) -> Result<Option<Url>, String> {
    if !response.status().is_redirection() {
        return Ok(None);
    }
    let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    let next = location.and_then(|location| url.join(location).ok());
    next.map(Some).ok_or_else(|| format!("it answers {} without a valid Location", response.status()))
}

/// Returns the innermost cause: the outer ones only say that the request failed.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    format!("it cannot be fetched: {cause}")
}
