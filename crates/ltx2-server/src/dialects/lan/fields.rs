//! The body of a request, JSON or form, as named values; read as leniently as the original server reads them.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::Multipart;
use axum::extract::multipart::{MultipartError, MultipartRejection};
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

use crate::error::{ApiError, Fault, shortened};

/// Named values, and what was found wrong with them so far.
pub(super) struct Fields {
    values: Map<String, Value>,
    pub(super) faults: Vec<Fault>,
}

impl Fields {
    /// From a JSON object.
    pub(super) fn from_json(
        headers: &HeaderMap,
        body: Result<Bytes, BytesRejection>,
        max_body: usize,
    ) -> Result<Self, ApiError> {
        if headers.contains_key(header::CONTENT_TYPE) && !is_json(headers) {
            return Err(wrong_content_type(headers, "application/json"));
        }
        let body = body.map_err(|rejection| unreadable(rejection.status(), &rejection.body_text(), max_body))?;
        // Windows tools put a byte order mark in front.
        let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&body);
        if text.is_empty() {
            return Err(ApiError::Invalid(vec![Fault::missing(None)]));
        }
        match serde_json::from_slice(text) {
            Ok(Value::Object(values)) => Ok(Self { values, faults: Vec::new() }),
            Ok(other) => Err(ApiError::body("model_attributes_type", "the body must be a JSON object", other)),
            Err(error) => {
                // What is left of curl's -d '{"prompt": ...}' there.
                let is_mangled = text.starts_with(b"'");
                let hint =
                    if is_mangled { "; on Windows, write the body to a file and send it with -d @FILE" } else { "" };
                Err(ApiError::body("json_invalid", format!("JSON decode error: {error}{hint}"), Value::Null))
            }
        }
    }

    /// From a form, with the bytes of its files: `image`, and every other part that has a file name. Empty texts count
    /// as left out.
    pub(super) async fn from_form(
        headers: &HeaderMap,
        form: Result<Multipart, MultipartRejection>,
        max_body: usize,
    ) -> Result<(Self, BTreeMap<String, Bytes>), ApiError> {
        let mut form =
            form.map_err(|_| wrong_content_type(headers, "multipart/form-data with a boundary, or application/json"))?;
        let broken = |error: MultipartError| unreadable(error.status(), &error.body_text(), max_body);
        let mut fields = Self { values: Map::new(), faults: Vec::new() };
        let mut files = BTreeMap::new();
        while let Some(field) = form.next_field().await.map_err(broken)? {
            let Some(name) = field.name().map(str::to_owned) else { continue };
            let has_name = field.file_name().is_some();
            let bytes = field.bytes().await.map_err(broken)?;
            // Some clients send a picture without the name of a file.
            let is_file = has_name || (name == "image" && !is_url(&bytes));
            if is_file {
                files.insert(name, bytes);
                continue;
            }
            match String::from_utf8(bytes.into()) {
                Ok(text) if text.is_empty() => {}
                Ok(text) => {
                    fields.values.insert(name, Value::String(text));
                }
                Err(_) => fields.reject("string_unicode", &name, "it must be UTF-8 text"),
            }
        }
        Ok((fields, files))
    }

    /// All that was sent, in one order whatever the client's.
    pub(super) fn canonical(&self) -> String {
        let sorted: BTreeMap<_, _> = self.values.iter().collect();
        serde_json::to_string(&sorted).unwrap_or_default()
    }

    /// What was sent under `name`.
    pub(super) fn sent(&self, name: &str) -> Value {
        self.values.get(name).cloned().unwrap_or_default()
    }

    /// A text that must be there.
    pub(super) fn required_text(&mut self, name: &str) -> String {
        match self.values.get(name) {
            Some(Value::String(text)) => return text.clone(),
            Some(_) => self.reject("string_type", name, "it must be a text"),
            // One that is there but no text was reported when the form was read.
            None if self.faults.iter().any(|fault| fault.loc.last().is_some_and(|at| at == name)) => {}
            None => self.faults.push(Fault::missing(Some(name))),
        }
        String::new()
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.values.get(name)? {
            Value::String(text) => return Some(text.clone()),
            Value::Null => {}
            _ => self.reject("string_type", name, "it must be a text"),
        }
        None
    }

    /// A text that stands for something; what it must be is said by the parser's error.
    pub(super) fn parsed<T: std::str::FromStr<Err = String>>(&mut self, name: &str) -> Option<T> {
        match self.text(name)?.parse() {
            Ok(value) => Some(value),
            Err(message) => {
                let sent = self.sent(name);
                self.faults.push(Fault::new("enum", Some(name), message, sent));
                None
            }
        }
    }

    /// A whole number, also as text and as 25.0.
    pub(super) fn integer(&mut self, name: &str) -> Option<i64> {
        let (integer, number) = match self.values.get(name)? {
            Value::Null => return None,
            Value::Number(number) => (number.as_i64(), number.as_f64()),
            Value::String(text) => (text.trim().parse().ok(), text.trim().parse().ok()),
            _ => (None, None),
        };
        let integer = integer.or_else(|| number.and_then(whole));
        if integer.is_none() {
            let kind = if number.is_some() { "int_from_float" } else { "int_parsing" };
            self.reject(kind, name, "it must be a whole number of at most 64 bits");
        }
        integer
    }

    /// A number, also as text.
    pub(super) fn number(&mut self, name: &str) -> Option<f64> {
        let number = match self.values.get(name)? {
            Value::Null => return None,
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        if number.is_none() {
            self.reject("float_parsing", name, "it must be a number");
        }
        number
    }

    /// A list of objects, also as JSON in a text; nothing if it was left out.
    pub(super) fn objects(&mut self, name: &str) -> Vec<Map<String, Value>> {
        let list = match self.values.get(name) {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::String(text)) => serde_json::from_str(text).unwrap_or(Value::Null),
            Some(other) => other.clone(),
        };
        let items: Option<Vec<_>> = match list {
            Value::Array(items) => items.into_iter().map(object).collect(),
            _ => None,
        };
        items.unwrap_or_else(|| {
            self.reject("list_type", name, "it must be a list of objects (in a form, as JSON)");
            Vec::new()
        })
    }

    /// Yes or no, also in the words that forms use.
    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        let word = match self.values.get(name)? {
            Value::Null => return None,
            Value::String(text) => text.trim().to_ascii_lowercase(),
            other => other.to_string(),
        };
        match word.as_str() {
            "true" | "1" | "on" | "yes" | "y" | "t" => Some(true),
            "false" | "0" | "off" | "no" | "n" | "f" => Some(false),
            _ => {
                self.reject("bool_parsing", name, "it must be true or false");
                None
            }
        }
    }

    /// Notes that `name` breaks `rule`.
    pub(super) fn reject(&mut self, kind: &'static str, name: &str, rule: &str) {
        let sent = self.sent(name);
        let message = if sent.is_null() {
            format!("{name}: {rule}")
        } else {
            format!("{name} is {}, but {rule}", shortened(sent.clone()))
        };
        self.faults.push(Fault::new(kind, Some(name), message, sent));
    }
}

fn object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

/// `number` without a fraction, where 64 bits hold it.
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9.2e18).then_some(number as i64)
}

fn is_url(bytes: &[u8]) -> bool {
    ["http://", "https://", "data:"].iter().any(|scheme| bytes.starts_with(scheme.as_bytes()))
}

/// Whether the body is said to be JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return false };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn wrong_content_type(headers: &HeaderMap, right: &str) -> ApiError {
    let sent = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let sent = sent.map_or_else(|| "missing".into(), |value| shortened(value.into()).to_string());
    ApiError::body("content_type", format!("Content-Type is {sent}, but it must be {right}"), Value::Null)
}

fn unreadable(status: StatusCode, reason: &str, max_body: usize) -> ApiError {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge(max_body),
        _ => ApiError::body("body_invalid", format!("the body cannot be read: {reason}"), Value::Null),
    }
}
