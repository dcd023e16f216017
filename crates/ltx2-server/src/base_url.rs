//! Base URL of the server in responses.

use std::num::NonZeroU16;

use axum::http::uri::{Authority, Scheme};
use axum::http::{HeaderMap, Uri, header};
use forwarded_header_value::{ForwardedHeaderValue, ForwardedStanza, Protocol};

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

/// Returns the configured URL, or the URL from the headers of the proxy (`Forwarded`, `X-Forwarded-Proto`, `-Host`,
/// `-Port` and `-Prefix`) or of the client. Without a host it has the prefix alone; URLs are then relative.
pub(crate) fn base_url(configured: Option<&PublicUrl>, headers: &HeaderMap, uri: &Uri) -> String {
    if let Some(PublicUrl(base)) = configured {
        return base.clone();
    }
    let first = |name: &str| headers.get(name)?.to_str().ok()?.split(',').next().map(str::trim);
    let standard = forwarded(headers);
    let proto = match standard.as_ref().and_then(|stanza| stanza.forwarded_proto) {
        Some(Protocol::Https) => "https",
        Some(Protocol::Http) => "http",
        None if first("x-forwarded-proto").is_some_and(|proto| proto.eq_ignore_ascii_case("https")) => "https",
        None => "http",
    };
    let prefix = first("x-forwarded-prefix").filter(|prefix| is_path(prefix)).unwrap_or("").trim_end_matches('/');
    let standard_host = standard.as_ref().and_then(|stanza| stanza.forwarded_host.as_deref());
    let from_proxy = standard_host.or(first("x-forwarded-host")).filter(|host| is_host(host));
    let port = first("x-forwarded-port").and_then(|port| port.parse::<NonZeroU16>().ok());
    if let Some(host) = from_proxy {
        return format!("{proto}://{}{prefix}", with_port(host, proto, port));
    }
    let hosts = [first(header::HOST.as_str()), uri.authority().map(Authority::as_str)];
    match hosts.into_iter().flatten().find(|host| is_host(host)) {
        Some(host) => format!("{proto}://{}{prefix}", with_port(host, proto, port)),
        None => prefix.into(),
    }
}

/// Returns the first element of the `Forwarded` header: that of the proxy nearest to the client.
fn forwarded(headers: &HeaderMap) -> Option<ForwardedStanza> {
    let value = headers.get(header::FORWARDED)?.to_str().ok()?;
    ForwardedHeaderValue::from_forwarded(value).ok()?.into_iter().next()
}

/// Returns `host` with the port of the proxy, unless it has a port or `port` is the default one.
fn with_port(host: &str, proto: &str, port: Option<NonZeroU16>) -> String {
    let has_port = host.parse::<Authority>().is_ok_and(|authority| authority.port().is_some());
    let default = if proto == "https" { 443 } else { 80 };
    match port.filter(|port| !has_port && port.get() != default) {
        Some(port) => format!("{host}:{port}"),
        None => host.into(),
    }
}

/// Whether `text` is an absolute path without query.
fn is_path(text: &str) -> bool {
    let is_path = |uri: Uri| uri.authority().is_none() && uri.query().is_none();
    text.starts_with('/') && !text.starts_with("//") && text.parse::<Uri>().is_ok_and(is_path)
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
    fn headers_of_proxies_are_understood_in_every_form() {
        let host = ("host", "10.0.0.1:8004");
        assert_eq!(base(None, &[host, ("x-forwarded-proto", "HTTPS")]), "https://10.0.0.1:8004");
        let proxy = [host, ("x-forwarded-proto", "https"), ("x-forwarded-host", "video.example")];
        let with = |name, value| base(None, &[&proxy[..], &[(name, value)]].concat());
        assert_eq!(with("x-forwarded-port", "8443"), "https://video.example:8443");
        assert_eq!(with("x-forwarded-port", "443"), "https://video.example");
        assert_eq!(with("x-forwarded-port", "x"), "https://video.example");
        assert_eq!(with("x-forwarded-prefix", "/ltx/"), "https://video.example/ltx");
        for bad in ["ltx", "//evil", "/a?b", "/a b", "https://evil"] {
            assert_eq!(with("x-forwarded-prefix", bad), "https://video.example", "{bad}");
        }
        let standard = "for=192.0.2.60;Proto=HTTPS;host=\"a.example:8443\", for=10.0.0.2;host=b.example";
        assert_eq!(base(None, &[host, ("forwarded", standard)]), "https://a.example:8443");
        assert_eq!(with("forwarded", "for=192.0.2.60;host=a.example"), "https://a.example");
        assert_eq!(with("forwarded", "nonsense"), "https://video.example");
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
