//! Outgoing requests for clients: only to public addresses, unless a network is allowed.

mod address;
mod fetch;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};

pub use fetch::Fetcher;

/// Private, loopback or link-local networks that may be called.
#[derive(Debug, Clone, Default)]
pub struct AllowedNetworks(pub Vec<IpNet>);

impl AllowedNetworks {
    /// Parses `url` and checks its scheme and address. Host names are checked when they are resolved.
    ///
    /// # Errors
    /// The reason, as the end of "the URL is ..., but".
    pub(crate) fn check(&self, url: &str) -> Result<Url, String> {
        let url: Url = url.parse().map_err(|_| "it must be a URL like https://host/path".to_owned())?;
        self.check_url(&url).map(|()| url)
    }

    fn check_url(&self, url: &Url) -> Result<(), String> {
        if !["http", "https"].contains(&url.scheme()) {
            return Err("it must begin with http:// or https://".into());
        }
        match url.host() {
            None => Err("it must name a host".into()),
            Some(url::Host::Ipv4(ip)) => self.check_address(ip.into()),
            Some(url::Host::Ipv6(ip)) => self.check_address(ip.into()),
            Some(url::Host::Domain(_)) => Ok(()),
        }
    }

    fn check_address(&self, ip: IpAddr) -> Result<(), String> {
        if address::is_allowed(ip, &self.0) {
            return Ok(());
        }
        Err(format!("{ip} is a private address; this server calls only public addresses and allowed networks"))
    }

    /// Returns a client that connects only to allowed addresses and follows no redirects.
    pub(crate) fn client(&self, timeout: Duration) -> Result<Client, reqwest::Error> {
        // Fails if a provider is installed already, which is then used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::builder()
            .dns_resolver(Arc::new(GuardedResolver(self.clone())))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(timeout)
            .user_agent("ltx2")
            .build()
    }
}

/// DNS resolver that drops addresses that are not allowed. The client connects to the addresses it returns, so a second
/// lookup cannot give a different result (DNS rebinding).
struct GuardedResolver(AllowedNetworks);

#[derive(Debug, thiserror::Error)]
#[error("{0} has only private addresses, and none is in an allowed network")]
struct OnlyPrivateAddresses(String);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.filter(|at| address::is_allowed(at.ip(), &allowed.0)).collect();
            if found.is_empty() {
                return Err(OnlyPrivateAddresses(name.as_str().into()).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked_by_scheme_and_address() {
        let allowed = AllowedNetworks(vec!["192.168.1.0/24".parse().unwrap()]);
        for good in ["https://example.com/hook", "http://8.8.8.8:9000", "http://192.168.1.7/x", "http://localhost/"] {
            assert!(allowed.check(good).is_ok(), "{good}");
        }
        let bad = [
            "",
            "example.com",
            "ftp://example.com",
            "file:///etc/passwd",
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://192.168.2.7/",
        ];
        for bad in bad {
            assert!(allowed.check(bad).is_err(), "{bad}");
        }
    }
}
