//! Inputs of a request: fetched, checked and named for the store.

use axum::body::Bytes;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
use data_url::DataUrl;
use futures_util::stream::{StreamExt, TryStreamExt, iter};
use ltx2_store::Upload;
use ltx2_types::InputRef;
use percent_encoding::percent_decode_str;

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
    /// Parses an `http` or `https` URL, a data URL, or an image in base64.
    ///
    /// # Errors
    /// The rule that `text` breaks.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if has_scheme(text, "data:") {
            return data_url(text).map(Self::Bytes);
        }
        if has_scheme(text, "http://") || has_scheme(text, "https://") {
            return Ok(Self::Url(text.into()));
        }
        match decode_base64(text).filter(|bytes| is_known_format(bytes)) {
            Some(bytes) => Ok(Self::Bytes(bytes.into())),
            None => Err("image must be a file of the form, a URL, a data URL or an image in base64"),
        }
    }
}

const DATA_URL_RULE: &str = "image must be a data URL like data:image/png;base64,...";

/// Returns the bytes of a data URL.
///
/// # Errors
/// The rule that an image in `text` breaks.
pub(super) fn data_url(text: &str) -> Result<Bytes, &'static str> {
    let (header, data) = text.split_once(',').ok_or(DATA_URL_RULE)?;
    if header.trim_end().to_ascii_lowercase().ends_with(";base64") {
        return Ok(decode_base64(data).ok_or("image must be valid base64")?.into());
    }
    let url = DataUrl::process(text).map_err(|_| DATA_URL_RULE)?;
    let (bytes, _) = url.decode_to_vec().map_err(|_| DATA_URL_RULE)?;
    Ok(bytes.into())
}

/// Whether `text` begins with `scheme`, in any case.
pub(super) fn has_scheme(text: &str, scheme: &str) -> bool {
    text.as_bytes().get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
}

/// Decodes base64 in the standard or the URL-safe alphabet, with or without padding, percent escapes and line breaks.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let text = percent_decode_str(text).decode_utf8().ok()?;
    let standard = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).map(|byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    });
    ENGINE.decode(standard.collect::<Vec<u8>>()).ok()
}

/// Result of loading an image.
pub(crate) enum LoadedImage {
    /// A valid image.
    Valid {
        /// Reference for the request.
        input: InputRef,
        /// The file, if it is not stored yet.
        upload: Option<Upload>,
        /// Width and height, pixels.
        size: (u32, u32),
    },
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
            return invalid(&unknown_format(&bytes));
        }
        let check = self.check_image.clone();
        match tokio::task::spawn_blocking(move || check(&bytes).map(|size| (bytes, size))).await {
            Ok(Ok((bytes, size))) => {
                let upload = Upload::new(bytes.into());
                Ok(LoadedImage::Valid { input: upload.source(), upload: Some(upload), size })
            }
            Ok(Err(reason)) => invalid(&reason),
            Err(error) => {
                tracing::error!(%error, "checking an image panicked: {error}");
                Err(ApiError::internal())
            }
        }
    }
}

/// Returns the message for bytes that are no PNG, JPEG or WebP.
fn unknown_format(bytes: &[u8]) -> String {
    let found = match bytes {
        [_, _, _, _, b'f', b't', b'y', b'p', b'h' | b'm', b'e' | b'i', b'i' | b'v' | b'f', ..] => "a HEIC image",
        [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', ..] => "an AVIF image",
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => "a video",
        [b'G', b'I', b'F', b'8', ..] => "a GIF image",
        [b'B', b'M', ..] => "a BMP image",
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => "a TIFF image",
        [b'%', b'P', b'D', b'F', ..] => "a PDF document",
        [b'<', ..] => "a text such as HTML or SVG",
        _ => return "the file is not a PNG, JPEG or WebP image".into(),
    };
    format!("the file is {found}, but it must be a PNG, JPEG or WebP image; convert it first")
}

fn is_known_format(bytes: &[u8]) -> bool {
    let is_webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    is_webp || bytes.starts_with(b"\x89PNG\r\n\x1a\n") || bytes.starts_with(b"\xff\xd8\xff")
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    /// Bytes that begin like a PNG, whose base64 has both characters that differ between the alphabets.
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\xfb\xff\xfe\x3e";

    fn bytes(text: &str) -> Option<Vec<u8>> {
        match ImageSource::parse(text) {
            Ok(ImageSource::Bytes(bytes)) => Some(bytes.into()),
            _ => None,
        }
    }

    #[test]
    fn images_in_base64_are_read_in_every_common_form() {
        let (standard, url_safe) = (STANDARD.encode(PNG), URL_SAFE_NO_PAD.encode(PNG));
        assert_ne!(standard.trim_end_matches('='), url_safe);
        let with_lines = format!("{}\r\n{}\n", &standard[..7], &standard[7..]);
        let unpadded = standard.trim_end_matches('=');
        let escaped = standard.replace('+', "%2B").replace('/', "%2F");
        for data in [&standard, &url_safe, &with_lines, unpadded, &escaped] {
            for prefix in ["data:image/png;base64,", "DATA:image/PNG;BASE64,", "data:;base64,", ""] {
                assert_eq!(bytes(&format!("{prefix}{data}")).as_deref(), Some(PNG), "{prefix}{data}");
            }
        }
    }

    #[test]
    fn texts_that_are_no_image_are_refused() {
        for text in ["start", "aGVsbG8=", "data:image/png;base64,*", "data:image/png", "ftp://x/y.png", "/etc/passwd"] {
            assert!(ImageSource::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn schemes_are_recognised_in_any_case() {
        for url in ["http://x/y.png", "HTTP://x/y.png", "Https://x/y.png", " https://x/y.png\n"] {
            assert!(matches!(ImageSource::parse(url), Ok(ImageSource::Url(found)) if found == url.trim()), "{url}");
        }
    }

    #[test]
    fn other_formats_are_named() {
        for (bytes, name) in [
            (b"\0\0\0\x18ftypheic".as_slice(), "HEIC"),
            (b"\0\0\0\x18ftypmif1", "HEIC"),
            (b"\0\0\0\x18ftypavif", "AVIF"),
            (b"\0\0\0\x18ftypisom", "video"),
            (b"GIF89a", "GIF"),
            (b"<html>", "HTML"),
        ] {
            assert!(unknown_format(bytes).contains(name), "{}", unknown_format(bytes));
        }
    }
}
