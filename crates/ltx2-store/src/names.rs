//! Names that come from outside, checked once.

use std::fmt;

use ltx2_types::TaskId;
use uuid::Uuid;

/// A new identifier that nobody can guess.
pub fn new_task_id() -> TaskId {
    TaskId::from_u128(Uuid::new_v4().as_u128())
}

/// The name of a file in one of the store's folders: ASCII letters, digits, `_`, `-` and `.`, not hidden, never a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileName(String);

impl FileName {
    /// `None` when `text` is not a plain file name.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let is_name = (1..=128).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(is_plain);
        is_name.then(|| Self(text.into()))
    }

    /// The file that task `id` results in.
    pub fn of_video(id: &TaskId) -> Self {
        Self(format!("ltx2_{id}.mp4"))
    }

    /// The picture that stands for it.
    pub fn of_thumbnail(id: &TaskId) -> Self {
        Self(format!("ltx2_{id}.jpg"))
    }

    /// The small picture of it while it is made.
    pub(crate) fn of_preview(id: &TaskId) -> Self {
        Self(format!("ltx2_{id}.preview.jpg"))
    }

    /// The task that a file of this name belongs to.
    pub fn task(&self) -> Option<TaskId> {
        let (stem, ending) = self.0.strip_prefix("ltx2_")?.split_once('.')?;
        ["mp4", "jpg", "preview.jpg", "preview.part"].contains(&ending).then(|| TaskId::parse(stem))?
    }

    /// A new name for an input.
    pub(crate) fn random_input() -> Self {
        Self(format!("input_{}", Uuid::new_v4().simple()))
    }

    /// The name.
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
    fn only_plain_file_names() {
        for good in ["ltx2_0.mp4", "a", "a.b-c_D9"] {
            assert!(FileName::parse(good).is_some(), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "../a", "a\\b", "C:a", "a\0", "a b", "é", &"x".repeat(129)] {
            assert!(FileName::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn results_lead_back_to_their_task() {
        let id = new_task_id();
        assert_eq!(FileName::of_video(&id).task(), Some(id.clone()));
        assert_eq!(FileName::of_thumbnail(&id).task(), Some(id.clone()));
        assert_eq!(FileName::of_preview(&id).task(), Some(id.clone()));
        for other in ["ltx2_.mp4", "notes.txt", &format!("ltx2_{id}.mp4.bak"), &format!("{id}.mp4")] {
            assert_eq!(FileName::parse(other).unwrap().task(), None, "{other}");
        }
    }
}
