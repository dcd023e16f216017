//! References of requests to media that the server has: assets and results.

use ltx2_store::{Asset, AssetMedia, TaskRecord, TaskStatus};
use ltx2_types::{AssetId, InputKind, InputRef, OutputRole, TaskId};

use super::{ImageSource, LoadedImage, LoadedSource, MediaSource};
use crate::error::{ApiError, ProblemKind};
use crate::state::Service;

/// Media that a request names.
#[derive(Debug, Clone)]
pub(crate) enum Reference<S> {
    /// The bytes, or where to fetch them.
    Sent(S),
    /// An asset or a result.
    Stored(StoredId),
}

/// Id of an asset, of a task, or of one file of a task's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredId {
    /// Digits of the id.
    pub(crate) digits: String,
    /// Output of the task; the video without one.
    pub(crate) role: Option<OutputRole>,
}

/// Prefixes of ids on the wire.
const PREFIXES: [&str; 6] = ["asset_", "job_", "video_", "task:", "asset:", "ltx2_"];

impl StoredId {
    /// Parses an id with or without a prefix, and with the name of an output after it; `None` for any other text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
        let (digits, role) = match text.split_once('_') {
            Some((digits, role)) => (digits, Some(role.parse().ok()?)),
            None => (text, None),
        };
        TaskId::parse(digits).map(|id| Self { digits: id.to_string(), role })
    }
}

impl Reference<ImageSource> {
    /// Parses the id of an asset, a URL, a data URL or an image in base64.
    ///
    /// # Errors
    /// The rule that `text` breaks.
    pub(crate) fn image(text: &str) -> Result<Self, &'static str> {
        match StoredId::parse(text) {
            Some(id) => Ok(Self::Stored(id)),
            None => ImageSource::parse(text).map(Self::Sent),
        }
    }
}

impl Reference<MediaSource> {
    /// Parses the id of an asset or a task, a URL or a data URL.
    ///
    /// # Errors
    /// The rule that `text` breaks.
    pub(crate) fn media(text: &str) -> Result<Self, &'static str> {
        match StoredId::parse(text) {
            Some(id) => Ok(Self::Stored(id)),
            None => MediaSource::parse(text).map(Self::Sent),
        }
    }
}

/// An asset or a result.
#[derive(Debug, Clone)]
pub(crate) enum StoredMedia {
    /// An asset.
    Asset(Box<Asset>),
    /// A task.
    Task(Box<TaskRecord>),
}

impl Service {
    /// Returns the asset or task with the digits `id`; `None` if there is none.
    pub(crate) async fn stored_media(&self, id: &str) -> Result<Option<StoredMedia>, ApiError> {
        if let Some(id) = AssetId::parse(id)
            && let Some(asset) = self.store.asset(&id).await?
        {
            return Ok(Some(StoredMedia::Asset(Box::new(asset))));
        }
        let Some(id) = TaskId::parse(id) else { return Ok(None) };
        Ok(self.task(&id).await?.map(|task| StoredMedia::Task(Box::new(task))))
    }

    /// Loads an image of a request.
    ///
    /// # Errors
    /// Only internal ones.
    pub(crate) async fn load_image(&self, image: Reference<ImageSource>) -> Result<LoadedImage, ApiError> {
        let id = match image {
            Reference::Sent(source) => return self.load_one(source).await,
            Reference::Stored(id) => id,
        };
        let invalid = |reason: String| Ok(LoadedImage::Invalid(ProblemKind::ImageInvalid, reason));
        match self.stored_media(&id.digits).await? {
            Some(StoredMedia::Asset(asset)) => match asset.media {
                AssetMedia::Image { width, height } => {
                    Ok(LoadedImage::Valid { input: InputRef::Asset(asset.id), upload: None, size: (width, height) })
                }
                AssetMedia::Source(_) => invalid(not_an(InputKind::Image, &id.digits, asset.kind)),
            },
            Some(StoredMedia::Task(task)) => self.load_output(&task, id.role).await,
            None => invalid(unknown(&id.digits)),
        }
    }

    async fn load_one(&self, source: ImageSource) -> Result<LoadedImage, ApiError> {
        self.load_images(vec![source]).await?.pop().ok_or_else(ApiError::internal)
    }

    /// Loads an image that is an output of `task`.
    async fn load_output(&self, task: &TaskRecord, role: Option<OutputRole>) -> Result<LoadedImage, ApiError> {
        let invalid = |reason: String| Ok(LoadedImage::Invalid(ProblemKind::ImageInvalid, reason));
        let role = match role {
            Some(role @ (OutputRole::Thumbnail | OutputRole::LastFrame)) => role,
            _ => return invalid(not_an(InputKind::Image, task.id.as_str(), InputKind::Video)),
        };
        let TaskStatus::Completed(completion) = &task.status else { return invalid(unknown(task.id.as_str())) };
        let Some(output) = completion.output(role) else { return invalid(unknown(task.id.as_str())) };
        match tokio::fs::read(self.store.output_path(&output.key)).await {
            Ok(bytes) => self.load_one(ImageSource::Bytes(bytes.into())).await,
            Err(error) => invalid(format!("the file cannot be read: {error}")),
        }
    }

    /// Loads the video or audio of a request and finds its streams.
    ///
    /// # Errors
    /// Only internal ones.
    pub(crate) async fn load_media(&self, media: Reference<MediaSource>) -> Result<LoadedSource, ApiError> {
        let id = match media {
            Reference::Sent(source) => return self.load_source(source).await,
            Reference::Stored(id) => id,
        };
        let invalid = |reason: String| Ok(LoadedSource::Invalid(ProblemKind::MediaInvalid, reason));
        match self.stored_media(&id.digits).await? {
            Some(StoredMedia::Asset(asset)) => match asset.media {
                AssetMedia::Source(info) => {
                    Ok(LoadedSource::Valid { input: InputRef::Asset(asset.id), upload: None, info })
                }
                AssetMedia::Image { .. } => invalid(not_an(InputKind::Video, &id.digits, asset.kind)),
            },
            Some(StoredMedia::Task(task)) => self.load_source(MediaSource::Task(task.id)).await,
            None => invalid(unknown(&id.digits)),
        }
    }
}

fn not_an(expected: InputKind, id: &str, found: InputKind) -> String {
    format!("{id} is of kind {}, but it must be of kind {}", found.name(), expected.name())
}

fn unknown(id: &str) -> String {
    format!("there is no asset and no task {id}; it may have expired")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_recognized_with_the_prefix_of_any_api() {
        let digits = "0123456789abcdef0123456789abcdef";
        for prefix in ["", "asset_", "job_", "video_", "task:", " asset_"] {
            let id = StoredId { digits: digits.into(), role: None };
            assert_eq!(StoredId::parse(&format!("{prefix}{digits}")), Some(id), "{prefix}");
        }
        let last = StoredId::parse(&format!("asset_{digits}_last_frame")).unwrap();
        assert_eq!((last.digits.as_str(), last.role), (digits, Some(OutputRole::LastFrame)));
        let unknown = format!("asset_{digits}_x");
        for text in ["", "asset_", "x_0123456789abcdef0123456789abcdef", "asset_0123", "https://x/y", &unknown] {
            assert_eq!(StoredId::parse(text), None, "{text}");
        }
    }
}
