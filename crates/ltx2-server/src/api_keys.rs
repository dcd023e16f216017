//! API keys and the clients that they identify.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::signed_url::UrlSigner;

/// API keys, stored as hashes: all have the same length, so a comparison in constant time reveals nothing.
#[derive(Clone)]
pub struct ApiKeys {
    hashes: Vec<[u8; 32]>,
    signer: UrlSigner,
}

/// Client that an API key identifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    /// Name for the database and the log; does not reveal the key.
    pub(crate) name: String,
}

impl ApiKeys {
    /// Returns the keys of a configuration. Without any, every client is admitted.
    pub fn new(keys: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let hashes = keys.into_iter().map(|key| hash(key.as_ref().as_bytes())).collect();
        Self { hashes, signer: UrlSigner::random() }
    }

    /// Whether every client is admitted.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Returns the signer of URLs that work without a key.
    pub(crate) fn signer(&self) -> &UrlSigner {
        &self.signer
    }

    /// Returns the client with one of the `offered` keys. Compares all pairs, so that the time does not depend on the
    /// match.
    pub(crate) fn authenticate(&self, offered: &[Vec<u8>]) -> Option<Principal> {
        let mut principal = None;
        for offered in offered.iter().map(|key| hash(key)) {
            for key in &self.hashes {
                if bool::from(key.as_slice().ct_eq(&offered)) {
                    principal = Some(Principal::of(key));
                }
            }
        }
        principal
    }
}

impl Default for ApiKeys {
    fn default() -> Self {
        Self::new([""; 0])
    }
}

impl Principal {
    /// Returns the client with the key of hash `key`. Its name stays the same as long as the key does.
    fn of(key: &[u8; 32]) -> Self {
        let digits: String = hash(key)[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { name: format!("key-{digits}") }
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} API keys", self.hashes.len())
    }
}

fn hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_identifies_its_own_client() {
        let keys = ApiKeys::new(["first", "second"]);
        let authenticate = |keys: &ApiKeys, key: &str| keys.authenticate(&[key.as_bytes().to_vec()]);
        let (first, second) = (authenticate(&keys, "first").unwrap(), authenticate(&keys, "second").unwrap());
        assert_ne!(first, second);
        assert_eq!(authenticate(&ApiKeys::new(["first"]), "first"), Some(first));
        assert_eq!(authenticate(&keys, "third"), None);
    }
}
