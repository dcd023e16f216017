//! Calling others on behalf of a client: only where the client could go itself from outside, unless that is allowed.

mod address;
mod fetch;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};

pub use fetch::Fetcher;

/// Networks that may be called though they are private, loopback or link-local.
#[derive(Debug, Clone, Default)]
pub struct AllowedNetworks(pub Vec<IpNet>);

impl AllowedNetworks {
    /// Says why `url` may not be called, as far as it tells by itself; names are looked up when the call is made.
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
        if address::may_be_called(ip, &self.0) {
            return Ok(());
        }
        Err(format!("{ip} is a private address; this server calls only public ones and those it is told to allow"))
    }

    /// A client that connects only where it may, and follows nobody elsewhere by itself.
    pub(crate) fn client(&self, timeout: Duration) -> Result<Client, reqwest::Error> {
        Client::builder()
            .dns_resolver(Arc::new(Guarded(self.clone())))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(timeout)
            .user_agent("ltx2")
            .build()
    }
}

/// Looks names up and leaves out what may not be called. The connection is made to just what it returns, so that a name
/// cannot mean something else a moment later.
struct Guarded(AllowedNetworks);

#[derive(Debug, thiserror::Error)]
#[error("{0} has only private addresses, which this server is not told to call")]
struct OnlyPrivate(String);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.filter(|at| address::may_be_called(at.ip(), &allowed.0)).collect();
            if found.is_empty() {
                return Err(OnlyPrivate(name.as_str().into()).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_may_be_called() {
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
