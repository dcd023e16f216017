//! Assets: files that a client uploads once and names in several requests.

use std::time::Duration;

use axum::body::Bytes;
use ltx2_store::{Asset, AssetMedia, LibraryCursor, LibraryPage, NewAsset};
use ltx2_types::InputKind;

use super::{ImageSource, LoadedImage, LoadedSource, MAX_PAGE, MediaSource, StoredMedia};
use crate::api_keys::Principal;
use crate::error::{ApiError, ProblemKind};
use crate::state::Service;

/// Time after its upload at which an asset expires.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

impl Service {
    /// Stores a file as an asset: an image, a video or audio.
    ///
    /// # Errors
    /// The problem with the file and its reason, in the inner result.
    pub(crate) async fn create_asset(
        &self,
        name: Option<String>,
        bytes: Bytes,
        owner: Option<&Principal>,
    ) -> Result<Result<Asset, (ProblemKind, String)>, ApiError> {
        let (kind, media) = match self.load_images(vec![ImageSource::Bytes(bytes.clone())]).await?.pop() {
            Some(LoadedImage::Valid { size: (width, height), .. }) => {
                (InputKind::Image, AssetMedia::Image { width, height })
            }
            Some(LoadedImage::Invalid(kind, reason)) if is_image(&bytes) => return Ok(Err((kind, reason))),
            _ => match self.load_source(MediaSource::Bytes(bytes.clone())).await? {
                LoadedSource::Valid { info, .. } => {
                    let kind = if info.video.is_some() { InputKind::Video } else { InputKind::Audio };
                    (kind, AssetMedia::Source(info))
                }
                LoadedSource::Invalid(kind, reason) => return Ok(Err((kind, reason))),
            },
        };
        let new = NewAsset {
            kind,
            mime: mime(&bytes, kind).into(),
            name,
            media,
            bytes: bytes.into(),
            owner: owner.map(|owner| owner.name.clone()),
            lifetime: Some(LIFETIME),
        };
        Ok(Ok(self.store.create_asset(new).await?))
    }

    /// Returns a page of assets and results, of at most [`MAX_PAGE`], the newest first.
    pub(crate) async fn library(&self, after: Option<&LibraryCursor>, limit: u32) -> Result<LibraryPage, ApiError> {
        Ok(self.store.library(after, limit.min(MAX_PAGE)).await?)
    }

    /// Deletes the asset or the task with the digits `id`. Returns whether there was one.
    pub(crate) async fn delete_media(&self, id: &str) -> Result<bool, ApiError> {
        Ok(match self.stored_media(id).await? {
            Some(StoredMedia::Asset(asset)) => self.store.delete_asset(&asset.id).await?,
            Some(StoredMedia::Task(task)) => self.remove(&task.id).await?.is_some(),
            None => false,
        })
    }
}

/// Whether `bytes` begin like an image in a common format, supported or not.
fn is_image(bytes: &[u8]) -> bool {
    let starts: [&[u8]; 6] = [b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*"];
    starts.iter().any(|start| bytes.starts_with(start)) || bytes.get(8..12) == Some(b"WEBP")
}

/// Returns the MIME type of a file of kind `kind` by its first bytes.
fn mime(bytes: &[u8], kind: InputKind) -> &'static str {
    let brand = bytes.get(4..12);
    match (kind, bytes) {
        (InputKind::Image, [0x89, ..]) => "image/png",
        (InputKind::Image, [0xff, ..]) => "image/jpeg",
        (InputKind::Image, _) => "image/webp",
        (_, [0x1a, 0x45, 0xdf, 0xa3, ..]) => "video/webm",
        (_, [b'I', b'D', b'3', ..] | [0xff, ..]) => "audio/mpeg",
        (_, [b'f', b'L', b'a', b'C', ..]) => "audio/flac",
        (_, [b'O', b'g', b'g', ..]) => "audio/ogg",
        (InputKind::Audio, [b'R', b'I', b'F', b'F', ..]) => "audio/wav",
        (InputKind::Audio, _) if brand.is_some_and(|brand| brand.starts_with(b"ftyp")) => "audio/mp4",
        (_, _) if brand == Some(b"ftypqt  ") => "video/quicktime",
        (_, _) if brand.is_some_and(|brand| brand.starts_with(b"ftyp")) => "video/mp4",
        _ => "application/octet-stream",
    }
}
