//! Reading an architecture out of a checkpoint's `config`.

use std::ops::RangeInclusive;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Widths and rates outside of this are no network's. Products of three of them are still numbers.
pub const SIZES: RangeInclusive<usize> = 1..=1 << 20;

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// A key holds a value that this implementation does not have.
    #[error("config value {path} is {found}, but only {supported} is supported")]
    Unsupported {
        /// The key with its sections.
        path: String,
        /// What the file says.
        found: String,
        /// What would be accepted.
        supported: String,
    },
    /// A key holds a value of the wrong type.
    #[error("config value {path} is {found}, which is not {expected}")]
    WrongType {
        /// The key with its sections.
        path: String,
        /// What the file says.
        found: String,
        /// The type in words.
        expected: &'static str,
    },
    /// A key that has no default is absent.
    #[error("config value {path} is missing")]
    Missing {
        /// The key with its sections.
        path: String,
    },
}

/// One section of a configuration. Keys that are never asked for are let pass.
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

    /// A section of this one; empty if it is absent.
    pub fn section(&self, key: &str) -> Section<'a> {
        Section { path: self.path_of(key), value: self.value.and_then(|value| value.get(key)) }
    }

    /// Whether `key` is there with a value.
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// The value of `key`, or `default` where it is absent or null.
    pub fn get<T: DeserializeOwned>(&self, key: &str, default: T) -> Result<T, ConfigError> {
        self.optional(key).map(|value| value.unwrap_or(default))
    }

    /// The value of `key`, which has to be there.
    pub fn require<T: DeserializeOwned>(&self, key: &str) -> Result<T, ConfigError> {
        self.optional(key)?.ok_or_else(|| ConfigError::Missing { path: self.path_of(key) })
    }

    /// A width or a rate: the value of `key`, or `default`, from [`SIZES`].
    pub fn size(&self, key: &str, default: usize) -> Result<usize, ConfigError> {
        self.within(key, self.get(key, default)?, SIZES)
    }

    /// The same where there is no default.
    pub fn require_size(&self, key: &str) -> Result<usize, ConfigError> {
        self.within(key, self.require(key)?, SIZES)
    }

    /// A number of layers or blocks: as [`Section::size`], or 0.
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
        // Published headers write whole numbers now as 1000, now as 1000.0.
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

    /// Refuses the configuration if `key` is there and is not `supported`.
    pub fn expect(&self, key: &str, supported: impl Into<Value>) -> Result<(), ConfigError> {
        let supported = supported.into();
        match self.value(key) {
            Some(found) if !same(found, &supported) => Err(self.unsupported(key, found, &supported)),
            _ => Ok(()),
        }
    }

    /// An error that says `key` holds something else than `supported`.
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
    fn names_the_value_that_it_does_not_know() {
        let config = json!({"transformer": {"qk_norm": "layer_norm", "num_layers": 48.0, "dropout": 0, "theta": 1e4}});
        let section = Section::root(&config).section("transformer");
        let error = section.expect("qk_norm", "rms_norm").unwrap_err();
        assert_eq!(
            error.to_string(),
            "config value transformer.qk_norm is \"layer_norm\", but only \"rms_norm\" is supported"
        );
        assert!(section.expect("dropout", 0.0).is_ok());
        assert!(section.expect("never_heard_of", 1).is_ok());
        assert_eq!(section.get::<usize>("num_layers", 1), Ok(48));
        assert_eq!(section.get::<f64>("theta", 1.0), Ok(10000.0));
        assert_eq!(section.get::<usize>("absent", 7), Ok(7));
        assert!(section.get::<usize>("qk_norm", 7).is_err());
        assert!(section.require::<usize>("absent").is_err());
    }

    #[test]
    fn sizes_are_neither_nothing_nor_beyond_measure() {
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
