//! Assets: uploaded files that several tasks may use.

use std::time::Duration;

use ltx2_types::{AssetId, InputKind};

use crate::FileName;

/// A stored file that tasks refer to by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Identifier.
    pub id: AssetId,
    /// Name in the assets folder.
    pub key: FileName,
    /// Media type of the content.
    pub kind: InputKind,
    /// MIME type.
    pub mime: String,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAsset {
    /// Media type of the content.
    pub kind: InputKind,
    /// MIME type.
    pub mime: String,
    /// Content.
    pub bytes: Vec<u8>,
    /// Owner.
    pub owner: Option<String>,
    /// Time until the asset expires; `None` keeps it until it is deleted.
    pub lifetime: Option<Duration>,
}
