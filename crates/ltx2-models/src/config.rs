//! Strict reader for the `config` of a checkpoint.
//!
//! Networks read the values they need, with defaults, and name each value that they require to be fixed. An unsupported
//! value is refused with its dotted path; published headers write integers as `1000` or `1000.0`, and absent values as
//! `null` or not at all.

use std::ops::RangeInclusive;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Valid widths and rates. The product of three of them fits a `usize`.
pub const SIZES: RangeInclusive<usize> = 1..=1 << 20;

/// An invalid or unsupported configuration value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// The value is not supported by this implementation.
    #[error("config value {path} is {found}, but only {supported} is supported")]
    Unsupported {
        /// Dotted path of the value.
        path: String,
        /// Value in the file.
        found: String,
        /// Description of the supported values.
        supported: String,
    },
    /// The value has the wrong type.
    #[error("config value {path} is {found}, which is not {expected}")]
    WrongType {
        /// Dotted path of the value.
        path: String,
        /// Value in the file.
        found: String,
        /// Name of the expected type.
        expected: &'static str,
    },
    /// A value without a default is absent.
    #[error("config value {path} is missing")]
    Missing {
        /// Dotted path of the value.
        path: String,
    },
}

/// A JSON object of a configuration, with its path. Keys that are never read are ignored.
#[derive(Debug, Clone)]
pub struct Section<'a> {
    path: String,
    value: Option<&'a Value>,
}

impl<'a> Section<'a> {
    /// The whole configuration.
    pub fn root(value: &'a Value) -> Self {
        Self { path: String::new(), value: Some(value) }
    }

    /// Returns the section `key`; an empty one if it is absent.
    pub fn section(&self, key: &str) -> Section<'a> {
        Section { path: self.path_of(key), value: self.value.and_then(|value| value.get(key)) }
    }

    /// Whether `key` has a value other than null.
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// Returns the value of `key`, or `default` if it is absent or null.
    pub fn get<T: DeserializeOwned>(&self, key: &str, default: T) -> Result<T, ConfigError> {
        self.optional(key).map(|value| value.unwrap_or(default))
    }

    /// Returns the value of `key`; an error if it is absent or null.
    pub fn require<T: DeserializeOwned>(&self, key: &str) -> Result<T, ConfigError> {
        self.optional(key)?.ok_or_else(|| ConfigError::Missing { path: self.path_of(key) })
    }

    /// Returns a width or a rate, or `default` if it is absent; an error if it is outside [`SIZES`].
    pub fn size(&self, key: &str, default: usize) -> Result<usize, ConfigError> {
        self.within(key, self.get(key, default)?, SIZES)
    }

    /// Returns a width or a rate; an error if it is absent or outside [`SIZES`].
    pub fn require_size(&self, key: &str) -> Result<usize, ConfigError> {
        self.within(key, self.require(key)?, SIZES)
    }

    /// Returns a number of layers or blocks: as [`Section::size`], but 0 is valid.
    pub fn count(&self, key: &str, default: usize) -> Result<usize, ConfigError> {
        self.within(key, self.get(key, default)?, 0..=*SIZES.end())
    }

    fn within(&self, key: &str, found: usize, range: RangeInclusive<usize>) -> Result<usize, ConfigError> {
        if range.contains(&found) {
            return Ok(found);
        }
        Err(self.unsupported(key, found, format!("a number from {} to {}", range.start(), range.end())))
    }

    fn optional<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        // Published headers write integers as 1000 or as 1000.0.
        let value = match value.as_f64() {
            Some(number) if number.fract() == 0.0 && number.abs() < 1e15 && !value.is_u64() => {
                Value::from(number as i64)
            }
            _ => value.clone(),
        };
        let found = value.to_string();
        serde_json::from_value(value).map(Some).map_err(|_| ConfigError::WrongType {
            path: self.path_of(key),
            found,
            expected: std::any::type_name::<T>(),
        })
    }

    /// Fails if `key` has a value other than `supported`.
    pub fn expect(&self, key: &str, supported: impl Into<Value>) -> Result<(), ConfigError> {
        let supported = supported.into();
        match self.value(key) {
            Some(found) if !same(found, &supported) => Err(self.unsupported(key, found, &supported)),
            _ => Ok(()),
        }
    }

    /// Returns the error that `key` has the value `found`, but only `supported` is supported.
    pub fn unsupported(&self, key: &str, found: impl ToString, supported: impl ToString) -> ConfigError {
        ConfigError::Unsupported { path: self.path_of(key), found: found.to_string(), supported: supported.to_string() }
    }

    fn value(&self, key: &str) -> Option<&'a Value> {
        self.value.and_then(|value| value.get(key)).filter(|value| !value.is_null())
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) }
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unsupported_values_are_named_and_whole_floats_are_integers() {
        let config = json!({"transformer": {"qk_norm": "layer_norm", "num_layers": 48.0, "dropout": 0, "theta": 1e4}});
        let section = Section::root(&config).section("transformer");
        let error = section.expect("qk_norm", "rms_norm").unwrap_err();
        assert_eq!(
            error.to_string(),
            "config value transformer.qk_norm is \"layer_norm\", but only \"rms_norm\" is supported"
        );
        assert!(section.expect("dropout", 0.0).is_ok());
        assert!(section.expect("unknown_key", 1).is_ok());
        assert_eq!(section.get::<usize>("num_layers", 1), Ok(48));
        assert_eq!(section.get::<f64>("theta", 1.0), Ok(10000.0));
        assert_eq!(section.get::<usize>("absent", 7), Ok(7));
        assert!(section.get::<usize>("qk_norm", 7).is_err());
        assert!(section.require::<usize>("absent").is_err());
    }

    #[test]
    fn sizes_and_counts_outside_their_range_are_rejected() {
        let config = json!({"none": 0, "some": 7, "most": 1 << 20, "more": (1 << 20) + 1, "all": u64::MAX, "less": -1});
        let section = Section::root(&config);
        for key in ["some", "most"] {
            assert!(section.size(key, 1).is_ok() && section.require_size(key).is_ok() && section.count(key, 1).is_ok());
        }
        for key in ["more", "all", "less"] {
            assert!(
                section.size(key, 1).is_err() && section.require_size(key).is_err() && section.count(key, 1).is_err()
            );
        }
        assert_eq!(section.count("none", 1), Ok(0));
        let error = section.size("none", 1).unwrap_err().to_string();
        assert_eq!(error, "config value none is 0, but only a number from 1 to 1048576 is supported");
        assert_eq!(section.size("absent", 9), Ok(9));
        assert!(section.require_size("absent").is_err());
    }
}
