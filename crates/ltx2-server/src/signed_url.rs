//! Short-lived URLs for clients that cannot send headers: `EventSource` and `<img>` in browsers.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

/// Time that a URL is valid, seconds. Streams that are open at its end stay open.
const VALID: i64 = 3600;

/// Key of signed URLs. It lasts as long as the process.
#[derive(Clone)]
pub(crate) struct UrlSigner([u8; 32]);

impl UrlSigner {
    /// Creates a signer with a random key.
    pub(crate) fn random() -> Self {
        let mut key = [0; 32];
        getrandom::fill(&mut key).expect("the operating system provides random bytes");
        Self(key)
    }

    /// Returns the query with which a client may GET `path` for an hour.
    pub(crate) fn query(&self, path: &str) -> String {
        self.query_until(path, Timestamp::now().as_second() + VALID)
    }

    fn query_until(&self, path: &str, expires: i64) -> String {
        let signature = URL_SAFE_NO_PAD.encode(self.mac(path, expires).finalize().into_bytes());
        format!("expires={expires}&signature={signature}")
    }

    /// Whether `query` is a valid query for `path`; it may have further parameters.
    pub(crate) fn admits(&self, path: &str, query: &str) -> bool {
        let parameter = |name| query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        let expires = parameter("expires").and_then(|expires| expires.parse().ok());
        let signature = parameter("signature").and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        match (expires, signature) {
            (Some(expires), Some(signature)) if Timestamp::now().as_second() <= expires => {
                self.mac(path, expires).verify_slice(&signature).is_ok()
            }
            _ => false,
        }
    }

    fn mac(&self, path: &str, expires: i64) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(format!("{expires} {path}").as_bytes());
        mac
    }
}

impl fmt::Debug for UrlSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UrlSigner")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_one_path_until_it_expires() {
        let signer = UrlSigner::random();
        let query = signer.query("/a");
        assert!(signer.admits("/a", &query) && signer.admits("/a", &format!("number=3&{query}")));
        assert!(!signer.admits("/b", &query) && !UrlSigner::random().admits("/a", &query));
        let (expires, signature) = query.split_once('&').unwrap();
        let later = format!("expires={}", expires["expires=".len()..].parse::<i64>().unwrap() + 1);
        for bad in ["", expires, signature, &format!("{later}&{signature}"), &query[..query.len() - 1]] {
            assert!(!signer.admits("/a", bad), "{bad}");
        }
        let now = Timestamp::now().as_second();
        assert!(signer.admits("/a", &signer.query_until("/a", now + 60)));
        assert!(!signer.admits("/a", &signer.query_until("/a", now - 1)));
    }
}
