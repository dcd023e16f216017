//! Fetching what a client names by its URL.

use std::time::Duration;

use axum::body::Bytes;
use reqwest::{Client, Response, StatusCode, Url, header};

use super::AllowedNetworks;

/// How long all of it may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Most redirections.
const MOST_STEPS: usize = 5;

/// Fetches files of limited size from public addresses, and from those that are allowed.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client,
    allowed: AllowedNetworks,
    max_bytes: usize,
}

impl Fetcher {
    /// Of files up to `max_bytes`.
    ///
    /// # Errors
    /// If the system has no TLS roots, or another part of the client cannot be made.
    pub fn new(allowed: AllowedNetworks, max_bytes: usize) -> Result<Self, reqwest::Error> {
        Ok(Self { client: allowed.client(TIMEOUT)?, allowed, max_bytes })
    }

    /// The bytes at `url`, or what is wrong with it as the end of "url is …, but".
    pub(crate) async fn fetch(&self, url: &str) -> Result<Bytes, String> {
        let url = self.allowed.check(url)?;
        match tokio::time::timeout(TIMEOUT, self.follow(url)).await {
            Ok(fetched) => fetched,
            Err(_) => Err(format!("it took longer than {} s", TIMEOUT.as_secs())),
        }
    }

    async fn follow(&self, mut url: Url) -> Result<Bytes, String> {
        for _ in 0..=MOST_STEPS {
            let response = self.client.get(url.clone()).send().await.map_err(|error| reason(&error))?;
            let Some(next) = next(&response, &url)? else { return self.body(response).await };
            // Where it leads to is checked as what it was asked for.
            self.allowed.check_url(&next)?;
            url = next;
        }
        Err(format!("it redirects more than {MOST_STEPS} times"))
    }

    async fn body(&self, mut response: Response) -> Result<Bytes, String> {
        if response.status() != StatusCode::OK {
            return Err(format!("it answers {}", response.status()));
        }
        let too_large = || format!("it has more than {} bytes, the most that this server takes", self.max_bytes);
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

/// Where `response` sends its client on to, if it does.
fn next(response: &Response, url: &Url) -> Result<Option<Url>, String> {
    if !response.status().is_redirection() {
        return Ok(None);
    }
    let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    let next = location.and_then(|location| url.join(location).ok());
    next.map(Some).ok_or_else(|| format!("it answers {} without saying where to go", response.status()))
}

/// The innermost cause: the outer ones only say that something failed.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    format!("it cannot be fetched: {cause}")
}
