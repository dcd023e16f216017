//! Fields of a request body, and the problems found in them so far.

use std::collections::BTreeMap;

use axum::body::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::lenient::{Context, Object, Violation};
use super::names::{short_name, unknown_name};
use crate::error::{ApiError, FieldProblem, Location, ProblemKind, shortened};

/// Named values and files of a request body.
#[derive(Default)]
pub(crate) struct Fields {
    values: Map<String, Value>,
    files: BTreeMap<String, Bytes>,
    /// Names that the client sent instead of a field's own name, by field.
    aliases: BTreeMap<&'static str, &'static str>,
    problems: Vec<FieldProblem>,
}

impl Fields {
    pub(super) fn new(values: Map<String, Value>) -> Self {
        Self { values, ..Self::default() }
    }

    pub(super) fn insert_file(&mut self, name: String, bytes: Bytes) {
        if self.has(&name) {
            self.reject_repeated(&[name]);
        } else {
            self.files.insert(name, bytes);
        }
    }

    pub(super) fn insert_text(&mut self, name: String, bytes: Bytes) {
        match String::from_utf8(bytes.into()) {
            Ok(text) if text.is_empty() => {}
            Ok(_) if self.has(&name) => self.reject_repeated(&[name]),
            Ok(text) => {
                self.values.insert(name, Value::String(text));
            }
            Err(_) => self.reject(ProblemKind::StringUnicode, &name, "it must be UTF-8 text"),
        }
    }

    /// Reports names that the request has several times.
    pub(super) fn reject_repeated(&mut self, names: &[String]) {
        for name in names.iter().map(|name| short_name(name)) {
            let message = format!("{name} is given more than once; send one value");
            self.push(FieldProblem::field(ProblemKind::DuplicateField, &name, message, Value::Null));
        }
    }

    /// Returns the file that was sent as `name`.
    pub(crate) fn file(&self, name: &str) -> Option<&Bytes> {
        self.files.get(name)
    }

    /// Reports files whose names are not among `used`.
    pub(crate) fn reject_unused_files(&mut self, used: &[&str]) {
        let unused: Vec<String> = self.files.keys().filter(|name| !used.contains(&name.as_str())).cloned().collect();
        for name in unused.iter().map(|name| short_name(name)) {
            let message = format!("{name} is a file that no field refers to");
            self.push(FieldProblem::field(ProblemKind::UnknownField, &name, message, Value::Null));
        }
    }

    /// Returns the names of all values and files.
    pub(crate) fn names(&self) -> Vec<String> {
        self.values.keys().chain(self.files.keys()).cloned().collect()
    }

    /// Removes the value or file `name` and returns the value.
    pub(crate) fn remove(&mut self, name: &str) -> Value {
        self.files.remove(name);
        self.values.remove(name).unwrap_or_default()
    }

    /// Sets a value that the client omitted.
    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.values.insert(name.into(), value);
    }

    /// Whether a value or a file was sent as `name`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.files.contains_key(name) || !self.sent(name).is_null()
    }

    /// Returns the value of the field `name` as it was sent; null if it was not sent.
    pub(crate) fn sent(&self, name: &str) -> Value {
        self.values.get(name).cloned().unwrap_or_default()
    }

    /// Returns the name under which the client sent the field `name`.
    pub(crate) fn sent_name<'a>(&self, name: &'a str) -> &'a str {
        self.aliases.get(name).copied().unwrap_or(name)
    }

    /// Renames values that were sent under an alias; `aliases` has pairs of alias and field.
    pub(crate) fn resolve_aliases(&mut self, aliases: &[(&'static str, &'static str)]) {
        for &(alias, name) in aliases {
            let Some(value) = self.values.remove(alias) else { continue };
            if value.is_null() {
                continue;
            }
            if self.has(name) {
                self.reject_duplicate(alias, self.sent_name(name), value);
            } else {
                self.values.insert(name.into(), value);
                self.aliases.insert(name, alias);
            }
        }
    }

    /// Reports that a field was sent under two names.
    pub(crate) fn reject_duplicate(&mut self, name: &str, other: &str, value: Value) {
        let message = format!("{name} and {other} are both given, but they set the same; send one of them");
        self.push(FieldProblem::field(ProblemKind::DuplicateField, name, message, value));
    }

    /// Deserializes all values. Each invalid value is reported and counts as omitted; each unknown name is reported.
    /// Returns `None` if a required field has no valid value that could be substituted.
    pub(crate) fn read<T: DeserializeOwned>(&mut self) -> Option<T> {
        let (mut values, context) = (self.values.clone(), Context::default());
        let (mut missing, mut found) = (Vec::new(), Vec::new());
        let result = loop {
            let violation = match T::deserialize(Object { values: &values, missing: &missing, context: &context }) {
                Ok(value) => break Some(value),
                Err(violation) => violation,
            };
            let name = context.current.take();
            let problem = match violation {
                Violation::Missing(name) => {
                    // An empty string is substituted, so that the other fields are checked too.
                    missing.push(name);
                    if self.has_problem(name) || found.iter().any(|(known, _)| known == name) {
                        continue;
                    }
                    found.push((name.into(), FieldProblem::missing(name)));
                    continue;
                }
                Violation::Rule(kind, rule) => self.problem(kind, &name, &rule),
                Violation::Message(message) => {
                    FieldProblem::field(ProblemKind::Enum, self.sent_name(&name), message, self.sent(&name))
                }
            };
            found.push((name.clone(), problem));
            if values.remove(&name).is_none() {
                break None;
            }
        };
        let known = context.known.get();
        found.sort_by_key(|(name, _)| known.iter().position(|field| field == name));
        self.problems.extend(found.into_iter().map(|(_, problem)| problem));
        self.reject_unknown(known);
        result
    }

    /// Removes the fields `names` and deserializes them alone, as [`Fields::read`] does. Returns their files as well.
    pub(crate) fn read_part<T: DeserializeOwned>(&mut self, names: &[&str]) -> (Option<T>, BTreeMap<String, Bytes>) {
        let mut part = Self::default();
        for name in names {
            part.values.extend(self.values.remove_entry(*name));
            part.files.extend(self.files.remove_entry(*name));
        }
        let read = part.read();
        self.problems.extend(part.problems);
        (read, part.files)
    }

    fn reject_unknown(&mut self, known: &[&str]) {
        let unknown = self.values.iter().filter(|(name, _)| !known.contains(&name.as_str()));
        let problems = unknown.map(|(name, value)| {
            let message = unknown_name(name, known);
            FieldProblem::field(ProblemKind::UnknownField, &short_name(name), message, value.clone())
        });
        self.problems.extend(problems);
    }

    /// Reports that the value of the field `name` breaks `rule`.
    pub(crate) fn reject(&mut self, kind: ProblemKind, name: &str, rule: &str) {
        let problem = self.problem(kind, name, rule);
        self.push(problem);
    }

    fn problem(&self, kind: ProblemKind, name: &str, rule: &str) -> FieldProblem {
        let (name, sent) = (short_name(self.sent_name(name)), self.sent(name));
        let message = match &sent {
            Value::Null => format!("{name}: {rule}"),
            Value::String(text) if kind == ProblemKind::Enum => format!("{name} is {text}, but {rule}"),
            value => format!("{name} is {}, but {rule}", shortened(value.clone())),
        };
        FieldProblem::field(kind, &name, message, sent)
    }

    /// Adds a problem.
    pub(crate) fn push(&mut self, problem: FieldProblem) {
        self.problems.push(problem);
    }

    /// Whether the field `name` has a problem.
    pub(crate) fn has_problem(&self, name: &str) -> bool {
        let name = self.sent_name(name);
        self.problems.iter().any(|problem| matches!(&problem.location, Location::Field(field) if field == name))
    }

    /// Whether no problem was found.
    pub(crate) fn is_valid(&self) -> bool {
        self.problems.is_empty()
    }

    /// Returns an error with all problems.
    pub(crate) fn into_error(self) -> ApiError {
        ApiError::invalid(self.problems)
    }

    /// Returns a hash of the values and files, independent of their order.
    pub(crate) fn fingerprint(&self) -> String {
        let sorted: BTreeMap<_, _> = self.values.iter().collect();
        let values = serde_json::to_string(&sorted).unwrap_or_default();
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        add(values.as_bytes());
        for (name, bytes) in &self.files {
            add(name.as_bytes());
            add(bytes);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
