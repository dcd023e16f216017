//! Inputs of a request: fetched, checked and named for the store.

use axum::body::Bytes;
use data_url::DataUrl;
use futures_util::stream::{StreamExt, TryStreamExt, iter};
use ltx2_store::Upload;

use crate::error::{ApiError, ProblemKind};
use crate::state::Service;

/// Number of images of a request that are fetched at the same time.
const CONCURRENT_FETCHES: usize = 8;

/// Where the bytes of an image are.
#[derive(Debug, Clone)]
pub(crate) enum ImageSource {
    /// In the request.
    Bytes(Bytes),
    /// At an `http` or `https` URL.
    Url(String),
}

impl ImageSource {
    /// Parses a data URL or an `http` or `https` URL.
    ///
    /// # Errors
    /// The rule that `text` breaks.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.starts_with("data:") {
            let url = DataUrl::process(text).map_err(|_| "image must be a data URL like data:image/png;base64,...")?;
            let (bytes, _) = url.decode_to_vec().map_err(|_| "image must be valid base64")?;
            return Ok(Self::Bytes(bytes.into()));
        }
        let is_web = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
        if is_web { Ok(Self::Url(text.into())) } else { Err("image must be a file of the form, a URL or a data URL") }
    }
}

/// Result of loading an image.
pub(crate) enum LoadedImage {
    /// A valid image.
    Valid(Upload),
    /// The problem with the image, and its reason.
    Invalid(ProblemKind, String),
}

impl Service {
    /// Fetches images that are given by URL, concurrently, and checks all of them. Results are in the order of
    /// `sources`.
    ///
    /// # Errors
    /// Only internal ones.
    pub(crate) async fn load_images(&self, sources: Vec<ImageSource>) -> Result<Vec<LoadedImage>, ApiError> {
        iter(sources)
            .map(|source| self.fetch_image(source))
            .buffered(CONCURRENT_FETCHES)
            // One at a time: decoding takes memory.
            .then(|fetched| async {
                match fetched {
                    Ok(bytes) => self.check_image(bytes).await,
                    Err(reason) => Ok(LoadedImage::Invalid(ProblemKind::ImageUnreachable, reason)),
                }
            })
            .try_collect()
            .await
    }

    async fn fetch_image(&self, source: ImageSource) -> Result<Bytes, String> {
        match (source, &self.fetcher) {
            (ImageSource::Bytes(bytes), _) => Ok(bytes),
            (ImageSource::Url(url), Some(fetcher)) => fetcher.fetch(&url).await,
            (ImageSource::Url(_), None) => Err("this server does not fetch URLs; send the image itself".into()),
        }
    }

    async fn check_image(&self, bytes: Bytes) -> Result<LoadedImage, ApiError> {
        let invalid = |reason: &str| Ok(LoadedImage::Invalid(ProblemKind::ImageInvalid, reason.into()));
        if bytes.is_empty() {
            return invalid("the file is empty; it must be a PNG, JPEG or WebP image");
        }
        if !is_known_format(&bytes) {
            return invalid("the file is not a PNG, JPEG or WebP image");
        }
        let check = self.check_image.clone();
        match tokio::task::spawn_blocking(move || check(&bytes).map(|()| bytes)).await {
            Ok(Ok(bytes)) => Ok(LoadedImage::Valid(Upload::new(bytes.into()))),
            Ok(Err(reason)) => invalid(&reason),
            Err(error) => {
                tracing::error!(%error, "checking an image panicked: {error}");
                Err(ApiError::internal())
            }
        }
    }
}

fn is_known_format(bytes: &[u8]) -> bool {
    let is_webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    is_webp || bytes.starts_with(b"\x89PNG\r\n\x1a\n") || bytes.starts_with(b"\xff\xd8\xff")
}
