//! Queries for lists of tasks.

use strum::VariantArray;

use crate::task::{TaskRecord, TaskState};

/// Filter, order and size of a page of tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskQuery {
    /// States to include; at least one.
    pub states: Vec<TaskState>,
    /// Order by time of submission.
    pub order: Order,
    /// Position after which the page starts; `None` for the first page.
    pub after: Option<Cursor>,
    /// Maximum number of tasks.
    pub limit: u32,
    /// Includes only tasks of this owner.
    pub owner: Option<String>,
    /// Includes only tasks of this API dialect.
    pub dialect: Option<String>,
}

impl TaskQuery {
    /// Returns a query for the newest tasks in any state.
    pub fn newest(limit: u32) -> Self {
        let states = TaskState::VARIANTS.to_vec();
        Self { states, order: Order::NewestFirst, after: None, limit, owner: None, dialect: None }
    }
}

/// Order of a list of tasks by their time of submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Newest first.
    NewestFirst,
    /// Oldest first.
    OldestFirst,
}

/// A page of a list of tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The tasks.
    pub tasks: Vec<TaskRecord>,
    /// Position of the next page; `None` on the last page.
    pub next: Option<Cursor>,
}

/// A position in a list of tasks. Tasks that are added or removed do not move it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub(crate) i64);

impl Cursor {
    /// Parses the text of [`Cursor::text`]; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('t')?;
        let is_hex = digits.len() == 16 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_hex.then(|| u64::from_str_radix(digits, 16).ok().and_then(|seq| i64::try_from(seq).ok()).map(Self))?
    }

    /// Returns the text for a client to send back.
    pub fn text(self) -> String {
        format!("t{:016x}", self.0)
    }
}

/// Numbers of open tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenTasks {
    /// Queued tasks.
    pub waiting: u32,
    /// Running tasks.
    pub running: u32,
}
