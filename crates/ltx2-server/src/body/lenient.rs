//! Deserialization of values that may be JSON or form text: numbers, booleans and lists may also be strings.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::value::{SeqDeserializer, StringDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::{Map, Value};

use super::names::unknown_name;
use crate::error::ProblemKind;

/// Rule that a value breaks.
#[derive(Debug)]
pub(super) enum Violation {
    /// A rule, as a clause with the subject "it".
    Rule(ProblemKind, String),
    /// Complete message of a type's own parser.
    Message(String),
    /// A required field is absent.
    Missing(&'static str),
}

impl Violation {
    fn rule(kind: ProblemKind, rule: &str) -> Self {
        Self::Rule(kind, rule.into())
    }

    /// Returns the violation of an object whose `field` has this one.
    fn within(self, field: &str) -> Self {
        match self {
            Self::Rule(kind, rule) => match rule.strip_prefix("it ") {
                Some(rest) => Self::Rule(kind, format!("{field} {rest}")),
                None => Self::Rule(kind, rule),
            },
            Self::Missing(name) => Self::Rule(ProblemKind::Missing, format!("{name} is missing")),
            message => message,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(_, text) | Self::Message(text) => f.write_str(text),
            Self::Missing(name) => write!(f, "{name} is missing"),
        }
    }
}

impl std::error::Error for Violation {}

impl de::Error for Violation {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Message(message.to_string())
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Rule(ProblemKind::Enum, format!("it must be one of {}", expected.join(", ")))
    }

    fn missing_field(name: &'static str) -> Self {
        Self::Missing(name)
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::Rule(ProblemKind::DuplicateField, format!("{name} is given more than once, under several names"))
    }
}

/// Element of a list. An invalid element keeps its error, so that the following ones are checked as well.
#[derive(Debug)]
pub(crate) struct Item<T>(pub(crate) Result<T, String>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Item<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(T::deserialize(deserializer).map_err(|error| error.to_string())))
    }
}

/// Deserializer of one value.
pub(super) struct Lenient(Value);

impl IntoDeserializer<'_, Violation> for Lenient {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl Lenient {
    fn text(self) -> Result<String, Violation> {
        match self.0 {
            Value::String(text) => Ok(text),
            _ => Err(Violation::rule(ProblemKind::StringType, "it must be a string")),
        }
    }
}

impl<'de> Deserializer<'de> for Lenient {
    type Error = Violation;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        self.0.deserialize_any(visitor).map_err(de::Error::custom)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        let word = match self.0 {
            Value::String(text) => text.trim().to_ascii_lowercase(),
            other => other.to_string(),
        };
        match word.as_str() {
            "true" | "1" | "on" | "yes" | "y" | "t" => visitor.visit_bool(true),
            "false" | "0" | "off" | "no" | "n" | "f" => visitor.visit_bool(false),
            _ => Err(Violation::rule(ProblemKind::BoolParsing, "it must be true or false")),
        }
    }

    /// Accepts 25.0 as well.
    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        let (integer, number) = match &self.0 {
            Value::Number(number) => (number.as_i128(), number.as_f64()),
            Value::String(text) => (text.trim().parse().ok(), text.trim().parse().ok()),
            _ => (None, None),
        };
        match integer.or_else(|| number.filter(|number| number.fract() == 0.0).map(|number| number as i128)) {
            Some(integer) => visitor.visit_i128(integer),
            None => Err(not_whole(number)),
        }
    }

    /// Accepts 25.0 as well.
    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        let (integer, number) = match &self.0 {
            Value::Number(number) => (number.as_i64(), number.as_f64()),
            Value::String(text) => (text.trim().parse().ok(), text.trim().parse().ok()),
            _ => (None, None),
        };
        match integer.or_else(|| number.and_then(whole)) {
            Some(integer) => visitor.visit_i64(integer),
            None => Err(not_whole(number)),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        let number = match &self.0 {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number {
            Some(number) => visitor.visit_f64(number),
            None => Err(Violation::rule(ProblemKind::FloatParsing, "it must be a number")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        visitor.visit_string(self.text()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        self.deserialize_string(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Violation> {
        StringDeserializer::new(self.text()?).deserialize_enum(name, variants, visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        let list = match self.0 {
            Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::Null),
            other => other,
        };
        match list {
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(Lenient))),
            _ => Err(Violation::rule(ProblemKind::ListType, "it must be a list (in a form, as JSON)")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Violation> {
        let Value::Object(values) = &self.0 else {
            return Err(Violation::rule(ProblemKind::DictType, "it must be an object"));
        };
        if let Some(unknown) = values.keys().find(|key| !fields.contains(&key.as_str())) {
            return Err(Violation::Rule(ProblemKind::UnknownField, unknown_name(unknown, fields)));
        }
        let context = Context::default();
        let object = Object { values, missing: &[], context: &context };
        object.deserialize_struct(name, fields, visitor).map_err(|error| error.within(&context.current.borrow()))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 u8 u16 u32 u64 u128 f32 char bytes byte_buf unit unit_struct newtype_struct tuple tuple_struct map
        identifier ignored_any
    }
}

/// Returns the violation of a value that is not a whole number, but `number` if it is one at all.
fn not_whole(number: Option<f64>) -> Violation {
    let kind = if number.is_some() { ProblemKind::IntFromFloat } else { ProblemKind::IntParsing };
    Violation::rule(kind, "it must be a whole number of at most 64 bits")
}

/// Returns `number` if it has no fraction and fits into 64 bits.
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9.2e18).then_some(number as i64)
}

/// Report of an [`Object`] about its deserialization.
#[derive(Default)]
pub(super) struct Context {
    /// Names of the fields of the struct.
    pub(super) known: Cell<&'static [&'static str]>,
    /// Field whose value was deserialized last.
    pub(super) current: RefCell<String>,
}

/// Deserializer of a struct from named values. Unknown names are skipped: the caller checks them.
pub(super) struct Object<'a> {
    pub(super) values: &'a Map<String, Value>,
    /// Absent fields for which an empty string is substituted.
    pub(super) missing: &'a [&'static str],
    pub(super) context: &'a Context,
}

impl<'de> Deserializer<'de> for Object<'_> {
    type Error = Violation;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        self.deserialize_struct("", &[], visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Violation> {
        self.context.known.set(fields);
        visitor.visit_map(ObjectAccess { object: self, names: fields.iter(), value: Value::Null })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Entries of an [`Object`] in the order of the struct's fields.
struct ObjectAccess<'a> {
    object: Object<'a>,
    names: std::slice::Iter<'static, &'static str>,
    value: Value,
}

impl<'de> MapAccess<'de> for ObjectAccess<'_> {
    type Error = Violation;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Violation> {
        for name in self.names.by_ref() {
            if let Some(value) = self.object.values.get(*name) {
                self.value = value.clone();
            } else if self.object.missing.contains(name) {
                self.value = Value::String(String::new());
            } else {
                continue;
            }
            self.object.context.current.replace((*name).into());
            return seed.deserialize((*name).into_deserializer()).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Violation> {
        seed.deserialize(Lenient(self.value.take()))
    }
}
