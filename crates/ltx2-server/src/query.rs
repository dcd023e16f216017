//! Query parameters of a request by name.

use std::collections::BTreeMap;
use std::str::FromStr;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use crate::body::unknown_name;
use crate::error::{ApiError, FieldProblem, ProblemKind};

/// Query parameters, of which a handler takes those that it knows.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    values: BTreeMap<String, String>,
    known: Vec<&'static str>,
    problems: Vec<FieldProblem>,
}

impl Parameters {
    /// Takes the parameter `name`; an empty one counts as omitted.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        self.values.remove(name).filter(|value| !value.is_empty())
    }

    /// Takes and parses the parameter `name`. Reports a value that breaks `rule`.
    pub(crate) fn parse<T: FromStr>(&mut self, name: &'static str, rule: &str) -> Option<T> {
        self.parse_with(name, rule, |text| text.parse().ok())
    }

    /// Takes the parameter `name` and parses it with `parse`. Reports a value that breaks `rule`.
    pub(crate) fn parse_with<T>(
        &mut self,
        name: &'static str,
        rule: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(name)?;
        let value = parse(&text);
        if value.is_none() {
            self.reject(name, &text, rule);
        }
        value
    }

    /// Reports that the value `text` of the parameter `name` breaks `rule`.
    pub(crate) fn reject(&mut self, name: &'static str, text: &str, rule: &str) {
        let message = format!("{name} is {text}, but {rule}");
        self.problems.push(FieldProblem::query(ProblemKind::QueryInvalid, name, message, text));
    }

    /// Takes parameters that have no effect here by design.
    pub(crate) fn ignore(&mut self, names: &[&'static str]) {
        for name in names {
            self.text(name);
        }
    }

    /// Ends reading.
    ///
    /// # Errors
    /// The problems found, and every parameter that was not taken.
    pub(crate) fn finish(mut self) -> Result<(), ApiError> {
        for (name, value) in &self.values {
            let message = unknown_name(name, &self.known);
            self.problems.push(FieldProblem::query(ProblemKind::UnknownField, "query", message, value));
        }
        if self.problems.is_empty() { Ok(()) } else { Err(ApiError::invalid(self.problems)) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = ApiError;

    /// Reads the query string. Signatures of URLs are not parameters of a route.
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(pairs) = query.map_err(|rejection: QueryRejection| {
            FieldProblem::query(ProblemKind::QueryInvalid, "query", rejection.body_text(), "")
        })?;
        let mut parameters = Self::default();
        for (name, value) in pairs {
            let message = format!("{name} is given more than once; send one value");
            if parameters.values.insert(name, value).is_some() {
                parameters.problems.push(FieldProblem::query(ProblemKind::DuplicateField, "query", message, ""));
            }
        }
        parameters.ignore(&["expires", "signature"]);
        Ok(parameters)
    }
}
