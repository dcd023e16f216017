//! Telling others that a task has ended, in the form of Standard Webhooks: signed, and repeated until it is heard.

mod address;
mod call;
mod sign;

use std::net::IpAddr;

use ipnet::IpNet;
use reqwest::Url;

pub use call::call_webhooks;
pub use sign::{InvalidSecret, Secret};

/// Whom the server may call, and with which signature.
#[derive(Debug, Clone)]
pub struct WebhookRules {
    /// What the calls are signed with.
    pub secret: Secret,
    /// Networks that may be called though they are private, loopback or link-local.
    pub allowed: Vec<IpNet>,
}

impl WebhookRules {
    /// Says why `url` may not be called, as far as it tells by itself; names are looked up when the call is made.
    pub(crate) fn check(&self, url: &str) -> Result<Url, String> {
        let url: Url = url.parse().map_err(|_| "it must be a URL like https://host/path".to_owned())?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err("it must begin with http:// or https://".into());
        }
        match url.host() {
            None => Err("it must name a host".into()),
            Some(url::Host::Ipv4(ip)) => self.check_address(ip.into()).map(|()| url),
            Some(url::Host::Ipv6(ip)) => self.check_address(ip.into()).map(|()| url),
            Some(url::Host::Domain(_)) => Ok(url),
        }
    }

    fn check_address(&self, ip: IpAddr) -> Result<(), String> {
        if address::may_be_called(ip, &self.allowed) {
            return Ok(());
        }
        Err(format!("{ip} is a private address; this server calls only public ones and those it is told to allow"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_may_be_called() {
        let secret = Secret::parse("whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0").unwrap();
        let rules = WebhookRules { secret, allowed: vec!["192.168.1.0/24".parse().unwrap()] };
        for good in ["https://example.com/hook", "http://8.8.8.8:9000", "http://192.168.1.7/x", "http://localhost/"] {
            assert!(rules.check(good).is_ok(), "{good}");
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
            assert!(rules.check(bad).is_err(), "{bad}");
        }
    }
}
