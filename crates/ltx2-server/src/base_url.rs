//! Base URL of the server in responses.

use axum::http::uri::{Authority, Scheme};
use axum::http::{HeaderMap, Uri, header};

/// Configured URL of the server: scheme, host and optionally a path, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

/// Error for a text that is not the URL of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a public URL; expected http://host:8004 or https://host/path")]
pub struct InvalidUrl(String);

impl PublicUrl {
    /// Parses an `http` or `https` URL without query and fragment.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let invalid = || InvalidUrl(text.into());
        let uri: Uri = text.parse().map_err(|_| invalid())?;
        let is_http = uri.scheme().is_some_and(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
        let has_host = uri.host().is_some_and(|host| !host.is_empty());
        if !is_http || !has_host || uri.query().is_some() || text.contains('#') {
            return Err(invalid());
        }
        Ok(Self(text.trim_end_matches('/').into()))
    }
}

/// Returns the configured URL, or the URL from the headers of the proxy or the client. Empty if they name no host; URLs
/// are then relative.
pub(crate) fn base_url(configured: Option<&PublicUrl>, headers: &HeaderMap, uri: &Uri) -> String {
    if let Some(PublicUrl(base)) = configured {
        return base.clone();
    }
    let first = |name: &str| headers.get(name)?.to_str().ok()?.split(',').next().map(str::trim);
    let proto = first("x-forwarded-proto").filter(|proto| ["http", "https"].contains(proto)).unwrap_or("http");
    let hosts = [first("x-forwarded-host"), first(header::HOST.as_str()), uri.authority().map(Authority::as_str)];
    match hosts.into_iter().flatten().find(|host| is_host(host)) {
        Some(host) => format!("{proto}://{host}"),
        None => String::new(),
    }
}

fn is_host(text: &str) -> bool {
    !text.contains('@') && text.parse::<Authority>().is_ok_and(|authority| !authority.host().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(configured: Option<&str>, headers: &[(&'static str, &str)]) -> String {
        let configured = configured.map(|url| PublicUrl::parse(url).unwrap());
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        base_url(configured.as_ref(), &headers, &Uri::from_static("/v1"))
    }

    #[test]
    fn configuration_precedes_the_proxy_and_the_client() {
        let host = ("host", "192.168.1.26:8004");
        let proxy = [host, ("x-forwarded-proto", "https"), ("x-forwarded-host", "video.example, inner")];
        assert_eq!(base(Some("https://public.example/ltx/"), &proxy), "https://public.example/ltx");
        assert_eq!(base(None, &proxy), "https://video.example");
        assert_eq!(base(None, &[host]), "http://192.168.1.26:8004");
        assert_eq!(base(None, &[host, ("x-forwarded-proto", "https")]), "https://192.168.1.26:8004");
        assert_eq!(base(None, &[("host", "[::1]:8004")]), "http://[::1]:8004");
    }

    #[test]
    fn invalid_headers_are_ignored() {
        let host = ("host", "good");
        assert_eq!(base(None, &[host, ("x-forwarded-host", "a b/c")]), "http://good");
        assert_eq!(base(None, &[host, ("x-forwarded-proto", "javascript")]), "http://good");
        assert_eq!(base(None, &[("host", "user@evil")]), "");
        assert_eq!(base(None, &[]), "");
    }

    #[test]
    fn only_server_urls_are_public_urls() {
        for good in ["http://host", "https://host:8004/path/", "http://[::1]:80"] {
            assert!(PublicUrl::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "host", "host:8004", "ftp://host", "http://", "http://host?x=1", "http://host#x"] {
            assert!(PublicUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
