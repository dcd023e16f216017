//! Documented fields of a request as data: one table checks requests, fills in defaults and describes the API.

use serde_json::Value;

use super::{Fields, unknown_name};
use crate::error::{FieldProblem, ProblemKind};

/// A documented field of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameter {
    /// Name on the wire.
    pub(crate) name: &'static str,
    /// Type and range.
    pub(crate) kind: ParameterKind,
    /// Whether a request without it is refused.
    pub(crate) is_required: bool,
    /// Value of an omitted field; null for none.
    pub(crate) default: Value,
    /// Meaning, for people.
    pub(crate) description: &'static str,
}

/// Type and range of a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ParameterKind {
    /// Text.
    Text,
    /// Text of a maximum length, characters.
    TextUpTo(usize),
    /// Number between two bounds.
    Number(f64, f64),
    /// Whole number between two bounds.
    Integer(i64, i64),
    /// True or false.
    Boolean,
    /// One of several texts.
    Choice(&'static [&'static str]),
    /// One of several numbers.
    NumberChoice(&'static [f64]),
    /// Reference to an image, a video or audio.
    Media(&'static str),
    /// List of objects with the given fields.
    List(Vec<Parameter>),
}

impl Parameter {
    /// Returns an optional field without a default.
    pub(crate) fn new(name: &'static str, kind: ParameterKind, description: &'static str) -> Self {
        Self { name, kind, is_required: false, default: Value::Null, description }
    }

    /// Makes the field required.
    pub(crate) fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    /// Sets the value of an omitted field.
    pub(crate) fn or(self, default: impl Into<Value>) -> Self {
        Self { default: default.into(), ..self }
    }

    /// Returns the rule that `value` breaks; `None` for a valid value and for one of another type, which the typed
    /// request reports.
    fn broken_rule(&self, value: &Value) -> Option<(ProblemKind, String)> {
        let number = || value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
        match &self.kind {
            ParameterKind::TextUpTo(most) => {
                let length = value.as_str()?.chars().count();
                (length > *most).then(|| {
                    (ProblemKind::StringTooLong, format!("it has {length} characters; at most {most} are allowed"))
                })
            }
            ParameterKind::Number(low, high) => {
                let valid = (*low..=*high).contains(&number()?);
                (!valid).then(|| (ProblemKind::OutOfRange, format!("it must be between {low} and {high}")))
            }
            ParameterKind::Integer(low, high) => {
                let valid = (*low as f64..=*high as f64).contains(&number()?);
                (!valid).then(|| (ProblemKind::OutOfRange, format!("it must be between {low} and {high}")))
            }
            ParameterKind::NumberChoice(choices) => {
                let names: Vec<String> = choices.iter().map(f64::to_string).collect();
                let valid = choices.contains(&number()?);
                (!valid).then(|| (ProblemKind::Enum, format!("it must be one of {}", names.join(", "))))
            }
            ParameterKind::Choice(choices) => {
                let valid = value.as_str().is_some_and(|text| choices.contains(&text));
                (!valid).then(|| (ProblemKind::Enum, format!("it must be one of {}", choices.join(", "))))
            }
            ParameterKind::Text | ParameterKind::Boolean | ParameterKind::Media(_) | ParameterKind::List(_) => None,
        }
    }
}

/// Checks `fields` against the fields `parameters` and fills in their defaults. Reports and removes unknown and invalid
/// values; the remaining ones are read as a typed request.
pub(crate) fn check(fields: &mut Fields, parameters: &[Parameter]) {
    let names: Vec<&'static str> = parameters.iter().map(|parameter| parameter.name).collect();
    for name in fields.names() {
        if !names.contains(&name.as_str()) {
            let message = unknown_name(&name, &names);
            let value = fields.remove(&name);
            fields.push(FieldProblem::field(ProblemKind::UnknownField, &name, message, value));
        }
    }
    for parameter in parameters {
        let sent = fields.sent(parameter.name);
        if let Some((kind, rule)) = parameter.broken_rule(&sent).filter(|_| !sent.is_null()) {
            fields.reject(kind, parameter.name, &rule);
            fields.remove(parameter.name);
        } else if parameter.is_required && !fields.has(parameter.name) {
            fields.push(FieldProblem::missing(parameter.name));
        }
        if !fields.has(parameter.name) && !parameter.default.is_null() {
            fields.set(parameter.name, parameter.default.clone());
        }
    }
}
