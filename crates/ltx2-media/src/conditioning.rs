//! From the bytes of a picture to what the model is conditioned on.

use ltx2_types::{Failure, ImageLimits, RgbImage};

use crate::{ImageError, MediaError, read_image, still_as_video_frame};

/// A picture that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConditioningError {
    /// It cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// It cannot pass through the video codec.
    #[error(transparent)]
    Media(#[from] MediaError),
}

impl From<ConditioningError> for Failure {
    fn from(error: ConditioningError) -> Self {
        match error {
            ConditioningError::Image(error) => error.into(),
            ConditioningError::Media(error) => error.into(),
        }
    }
}

/// Decodes a PNG, JPEG or WebP and makes it look like a video frame: one H.264 pass at `crf`, or none at 0.
pub fn conditioning_image(bytes: &[u8], crf: u32, limits: ImageLimits) -> Result<RgbImage, ConditioningError> {
    Ok(still_as_video_frame(&read_image(bytes, limits)?, crf)?)
}
