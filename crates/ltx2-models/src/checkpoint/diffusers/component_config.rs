//! The `config.json` of a component of a diffusers folder.

use serde_json::{Value, json};

use super::rules::{KeyRule, KeyRules};
use crate::config::{ConfigError, Section};

pub(super) type Result<T> = std::result::Result<T, ConfigError>;

/// Configuration of a component, completed with the defaults of its class.
pub(super) struct ComponentConfig {
    class: String,
    values: Value,
    defaults: Value,
}

impl ComponentConfig {
    /// Reads the content of a `config.json`.
    ///
    /// # Errors
    /// If its `_class_name` is none of `classes`.
    pub(super) fn new(json: &Value, classes: &[&str]) -> Result<Self> {
        let root = Section::root(json);
        let class: String = root.require("_class_name")?;
        if !classes.contains(&class.as_str()) {
            return Err(root.unsupported("_class_name", class, classes.join(" or ")));
        }
        let defaults = class_defaults(&class);
        let mut values = defaults.clone();
        for (key, value) in json.as_object().into_iter().flatten() {
            values[key] = value.clone();
        }
        Ok(Self { class, values, defaults })
    }

    /// `_class_name` of the component.
    pub(super) fn class(&self) -> &str {
        &self.class
    }

    /// All values as a section.
    pub(super) fn section(&self) -> Section<'_> {
        Section::root(&self.values)
    }

    /// The value of `key`; null if it is absent.
    pub(super) fn value(&self, key: &str) -> &Value {
        &self.values[key]
    }

    /// Applies `rules` to the keys that start with `prefix`. Returns the keys of the single file.
    pub(super) fn apply(&self, rules: KeyRules, prefix: &str) -> Result<Value> {
        let mut single = json!({});
        for (key, rule) in rules {
            let key = format!("{prefix}{key}");
            match rule {
                KeyRule::Is(path) => set_path(&mut single, path, self.values[&key].clone()),
                KeyRule::Default => self.section().expect(&key, self.defaults[&key].clone())?,
                KeyRule::Joint | KeyRule::Unused => {}
            }
        }
        Ok(single)
    }

    /// Checks that the value of `key` is `expected`. `origin` says where that value comes from.
    pub(super) fn check_equal(&self, key: &str, expected: impl Into<Value>, origin: &str) -> Result<()> {
        let expected = expected.into();
        if self.values[key] == expected {
            return Ok(());
        }
        Err(self.section().unsupported(key, &self.values[key], format!("{expected}, as {origin},")))
    }
}

/// Default arguments of the constructor of `class`.
pub(super) fn class_defaults(class: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("defaults.json")).expect("defaults.json is valid");
    all.get(class).cloned().unwrap_or_else(|| json!({}))
}

/// Sets the value at a dotted path and creates the objects on the way.
pub(super) fn set_path(target: &mut Value, path: &str, value: Value) {
    match path.split_once('.') {
        None => target[path] = value,
        Some((first, rest)) => {
            if !target[first].is_object() {
                target[first] = json!({});
            }
            set_path(&mut target[first], rest, value);
        }
    }
}
