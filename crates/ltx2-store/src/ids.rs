//! Identifiers and file names.

use std::fmt;

use ltx2_types::{AssetId, TaskId};
use uuid::Uuid;

/// Returns a random task id.
pub fn new_task_id() -> TaskId {
    TaskId::from_u128(Uuid::new_v4().as_u128())
}

/// Returns a random asset id.
pub(crate) fn new_asset_id() -> AssetId {
    AssetId::from_u128(Uuid::new_v4().as_u128())
}

/// Extensions of preview files, which earlier versions wrote.
const OLD_PREVIEWS: [&str; 2] = ["preview.jpg", "preview.part"];

/// Name of a file in one of the store's folders: at most 128 ASCII letters, digits, `_`, `-` and `.`, not hidden, never
/// a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileName(String);

impl FileName {
    /// Parses a file name; `None` if `text` is not a plain one.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let is_name = (1..=128).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(is_plain);
        is_name.then(|| Self(text.into()))
    }

    /// Returns the name of an output of task `id` with the given file name extension.
    pub fn of_output(id: &TaskId, extension: &str) -> Self {
        Self(format!("ltx2_{id}.{extension}"))
    }

    /// Returns the task that an output of this name belongs to; `None` for other names.
    pub fn task(&self) -> Option<TaskId> {
        let (stem, extension) = self.0.strip_prefix("ltx2_")?.split_once('.')?;
        let is_output = extension.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (is_output || OLD_PREVIEWS.contains(&extension)).then(|| TaskId::parse(stem))?
    }

    /// Returns a random name for an upload.
    pub(crate) fn random_input() -> Self {
        Self(format!("input_{}", Uuid::new_v4().simple()))
    }

    /// Returns the name of the file of asset `id`.
    pub(crate) fn of_asset(id: &AssetId) -> Self {
        Self(format!("asset_{id}"))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_file_names_are_parsed() {
        for good in ["ltx2_0.mp4", "a", "a.b-c_D9"] {
            assert!(FileName::parse(good).is_some(), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "../a", "a\\b", "C:a", "a\0", "a b", "é", &"x".repeat(129)] {
            assert!(FileName::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn output_names_contain_their_task() {
        let id = new_task_id();
        for extension in ["mp4", "jpg", "preview.jpg"] {
            assert_eq!(FileName::of_output(&id, extension).task(), Some(id.clone()));
        }
        for other in
            ["ltx2_.mp4", "notes.txt", &format!("ltx2_{id}"), &format!("ltx2_{id}.mp4.bak"), &format!("{id}.mp4")]
        {
            assert_eq!(FileName::parse(other).unwrap().task(), None, "{other}");
        }
    }
}
