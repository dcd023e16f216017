//! Assets: uploaded files that several tasks may use.

use std::time::Duration;

use ltx2_types::{AssetId, InputKind, SourceInfo};
use serde::{Deserialize, Serialize};

use crate::{FileName, TaskRecord};

/// A stored file that tasks refer to by its id.
#[derive(Debug, Clone, PartialEq)]
pub struct Asset {
    /// Identifier.
    pub id: AssetId,
    /// Name in the assets folder.
    pub key: FileName,
    /// Media type of the content.
    pub kind: InputKind,
    /// MIME type.
    pub mime: String,
    /// File name that the client gave.
    pub name: Option<String>,
    /// Properties of the content.
    pub media: AssetMedia,
    /// Size, bytes.
    pub bytes: u64,
    /// Owner.
    pub owner: Option<String>,
    /// Time of creation, UTC milliseconds.
    pub created_at: i64,
    /// Time after which the asset is removed once no queued or running task refers to it, UTC milliseconds.
    pub expires_at: Option<i64>,
}

/// An asset to store.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAsset {
    /// Media type of the content.
    pub kind: InputKind,
    /// MIME type.
    pub mime: String,
    /// File name that the client gave.
    pub name: Option<String>,
    /// Properties of the content.
    pub media: AssetMedia,
    /// Content.
    pub bytes: Vec<u8>,
    /// Owner.
    pub owner: Option<String>,
    /// Time until the asset expires; `None` keeps it until it is deleted.
    pub lifetime: Option<Duration>,
}

/// Properties of the content of an asset, found when it was stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssetMedia {
    /// An image of a size in pixels, upright.
    Image {
        /// Width, pixels.
        width: u32,
        /// Height, pixels.
        height: u32,
    },
    /// Streams of a video or audio.
    Source(SourceInfo),
}

/// Stored media: an uploaded file, or the result of a task.
#[derive(Debug, Clone, PartialEq)]
pub enum LibraryItem {
    /// An asset.
    Asset(Box<Asset>),
    /// A completed task.
    Result(Box<TaskRecord>),
}

/// Page of the library, the newest items first.
#[derive(Debug, Clone, PartialEq)]
pub struct LibraryPage {
    /// The items.
    pub items: Vec<LibraryItem>,
    /// Position of the next page; `None` on the last page.
    pub next: Option<LibraryCursor>,
}

/// Position in the library: time and id of the last item of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryCursor {
    /// UTC milliseconds.
    pub(crate) at: i64,
    pub(crate) id: String,
}

impl LibraryCursor {
    /// Parses the text of [`LibraryCursor::text`]; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let (at, id) = text.split_once('-')?;
        let id = AssetId::parse(id)?.as_str().into();
        Some(Self { at: at.parse().ok()?, id })
    }

    /// Returns the text for a client to send back.
    pub fn text(&self) -> String {
        format!("{}-{}", self.at, self.id)
    }
}
