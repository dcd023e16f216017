//! Reasons why a body is not valid JSON, and names that serde_json accepts twice.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::error::ProblemKind;

/// Remedy for bodies whose quotes the shell changed.
const SHELL_HINT: &str = "the shell removed or changed the quotes; write the body to a file and send it with -d @FILE";

/// Returns the kind of problem and a message for a body that serde_json refused with `error`.
pub(super) fn invalid_json(body: &[u8], error: &serde_json::Error) -> (ProblemKind, String) {
    if is_utf16(body) {
        let message = "the body is UTF-16, but it must be UTF-8; save the file as UTF-8";
        return (ProblemKind::StringUnicode, message.into());
    }
    if let Err(invalid) = str::from_utf8(body) {
        let at = invalid.valid_up_to();
        let message = format!(
            "the body must be UTF-8, but byte {at} is 0x{:02X}; it may be Latin-1 or Windows-1252 (in PowerShell, set \
             the content type to application/json; charset=utf-8)",
            body[at]
        );
        return (ProblemKind::StringUnicode, message);
    }
    let hint = if has_shell_quoting(body) { format!("; {SHELL_HINT}") } else { String::new() };
    (ProblemKind::JsonInvalid, format!("JSON decode error: {error}{hint}"))
}

/// Whether `body` begins with a UTF-16 byte order mark, or with an ASCII character in UTF-16.
fn is_utf16(body: &[u8]) -> bool {
    matches!(body, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, b'{' | b'[', ..] | [b'{' | b'[', 0, ..])
}

/// Whether `body` looks like an object whose quotes a shell removed, replaced or escaped: `'{…}'`, `{prompt:…}`,
/// `{'prompt':…}` or `{\"prompt\":…}`.
fn has_shell_quoting(body: &[u8]) -> bool {
    let text = body.trim_ascii_start();
    let Some(inside) = text.strip_prefix(b"{") else { return text.starts_with(b"'") };
    let first = inside.trim_ascii_start().first();
    first.is_some_and(|first| matches!(first, b'\'' | b'\\' | b'_') || first.is_ascii_alphabetic())
}

/// Returns the names that the JSON object in `text` has more than once.
pub(super) fn repeated_names(text: &[u8]) -> Vec<String> {
    serde_json::from_slice::<RepeatedNames>(text).map(|names| names.0).unwrap_or_default()
}

struct RepeatedNames(Vec<String>);

impl<'de> Deserialize<'de> for RepeatedNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NameVisitor)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = RepeatedNames;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RepeatedNames, A::Error> {
        let (mut names, mut repeated) = (HashSet::new(), Vec::new());
        while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
            if !names.insert(name.clone()) && !repeated.contains(&name) {
                repeated.push(name);
            }
        }
        Ok(RepeatedNames(repeated))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &[u8]) -> String {
        let error = serde_json::from_slice::<serde_json::Value>(body).unwrap_err();
        invalid_json(body, &error).1
    }

    #[test]
    fn other_encodings_are_named() {
        let utf16: Vec<u8> = "{\"prompt\":\"x\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let with_mark = [b"\xff\xfe".as_slice(), &utf16].concat();
        let big_endian: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for body in [&utf16, &with_mark, &big_endian] {
            assert!(message(body).starts_with("the body is UTF-16, but it must be UTF-8"), "{}", message(body));
        }
        let latin1 = message(b"{\"prompt\":\"caf\xe9\"}");
        assert!(latin1.starts_with("the body must be UTF-8, but byte 14 is 0xE9; it may be Latin-1"), "{latin1}");
    }

    #[test]
    fn quotes_changed_by_a_shell_are_recognised() {
        for body in ["{prompt:A fox}", "{'prompt':'x'}", "'{\"prompt\":", "{\\\"prompt\\\":\\\"x\\\"}", " { _x: 1}"] {
            assert!(message(body.as_bytes()).contains("-d @FILE"), "{body}");
        }
        for body in ["{\"prompt\": \"x\"", "{\"prompt\": x}", "prompt=x", "{"] {
            assert!(!message(body.as_bytes()).contains("-d @FILE"), "{body}");
        }
    }

    #[test]
    fn repeated_names_are_found() {
        assert_eq!(repeated_names(br#"{"a":1,"b":{"a":1},"a":2,"a":3}"#), ["a"]);
        assert!(repeated_names(br#"{"a":1,"b":{"a":1}}"#).is_empty());
    }
}
