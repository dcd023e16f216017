//! Identifiers of tasks and assets.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether `text` is 32 lower-case hexadecimal digits.
fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the identifier with the digits of `value`. Callers draw a random `value`.
            pub fn from_u128(value: u128) -> Self {
                Self(format!("{value:032x}"))
            }

            /// Parses 32 lower-case hexadecimal digits; `None` for any other text.
            pub fn parse(text: &str) -> Option<Self> {
                is_id(text).then(|| Self(text.into()))
            }

            /// Returns the digits.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                Self::parse(&text).ok_or_else(|| format!("{text:?} is not an id: expected 32 hexadecimal digits"))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

id! {
    /// Identifier of a task: 32 lower-case hexadecimal digits.
    TaskId
}

id! {
    /// Identifier of an asset: 32 lower-case hexadecimal digits.
    AssetId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lower_case_hexadecimal_ids_are_parsed() {
        let id = TaskId::from_u128(0xabc);
        assert_eq!(TaskId::parse(id.as_str()), Some(id));
        for bad in ["", "abc123", &"A".repeat(32), &"g".repeat(32), &"a".repeat(33)] {
            assert!(TaskId::parse(bad).is_none(), "{bad:?}");
        }
    }
}
