//! Encoding a video again until it fits a maximum size.
//!
//! Each attempt has a constant quality. A bisection ends at the best quality that fits, or earlier near the maximum size.

use std::path::{Path, PathBuf};

use ltx2_types::ImageLimits;

use super::content::Video;
use super::muxer::Muxer;
use super::settings::max_reduction;
use crate::{MediaError, demux::open_video, pending_file::PendingFile};

/// Steps of the CRF that halve the size of typical videos.
const STEPS_PER_HALVING: f64 = 6.0;
/// Share of the maximum size at which the search ends.
const GOOD_FIT: f64 = 0.9;

/// The frames and samples of a video, kept on disk and in memory to encode it again.
pub(super) struct Source {
    // Declared before the file, so that the muxer closes it before it is removed.
    frames: Muxer,
    kept: Kept,
}

struct Kept {
    frames: PendingFile,
    video: Video,
    /// Path that the video gets.
    target: PathBuf,
}

/// A video, encoded again.
pub(super) struct Attempt {
    pub(super) file: PendingFile,
    /// Size of the file.
    pub(super) bytes: u64,
    /// Steps of the rate below the requested quality.
    reduction: u32,
}

impl Source {
    /// Creates the file of the frames, a hidden one beside `target`.
    pub(super) fn create(target: &Path, video: Video) -> Result<Self, MediaError> {
        let file = PendingFile::create(target)?;
        let frames = Muxer::open_intermediate(file.path(), video.info)?;
        Ok(Self { frames, kept: Kept { frames: file, video, target: target.to_owned() } })
    }

    /// Keeps one frame.
    pub(super) fn frame(&mut self, rgb: &[u8]) -> Result<(), MediaError> {
        self.frames.frame(rgb)
    }

    /// Encodes the video again so that it has at most `max_bytes` bytes. It has `bytes` bytes at the requested quality.
    ///
    /// # Errors
    /// The video is larger at the lowest acceptable rate.
    pub(super) fn fit(self, bytes: u64, max_bytes: u64) -> Result<Attempt, MediaError> {
        let Self { frames, kept } = self;
        frames.close()?;
        let lowest = max_reduction(kept.video.spec.codec, kept.video.spec.quality);
        let (mut above, mut above_bytes) = (0, bytes);
        let mut fit = loop {
            if above == lowest {
                return Err(MediaError::TooLarge { max_bytes, least: above_bytes });
            }
            let halvings = (above_bytes as f64 / max_bytes as f64).log2();
            let steps = (halvings * STEPS_PER_HALVING).ceil() as u32;
            let attempt = kept.encode(above.saturating_add(steps.max(1)).min(lowest))?;
            if attempt.bytes <= max_bytes {
                break attempt;
            }
            (above, above_bytes) = (attempt.reduction, attempt.bytes);
        };
        while fit.reduction > above + 1 && (fit.bytes as f64) < max_bytes as f64 * GOOD_FIT {
            let attempt = kept.encode(above.midpoint(fit.reduction))?;
            if attempt.bytes <= max_bytes {
                fit = attempt;
            } else {
                above = attempt.reduction;
            }
        }
        Ok(fit)
    }
}

impl Kept {
    /// Encodes the video with the rate `reduction` steps below the requested quality.
    fn encode(&self, reduction: u32) -> Result<Attempt, MediaError> {
        let file = PendingFile::create(&self.target)?;
        let mut muxer = Muxer::open(file.path(), self.video.clone(), reduction)?;
        let unlimited = ImageLimits { max_pixels: u64::MAX, max_side: u32::MAX };
        for frame in open_video(self.frames.path(), unlimited)?.1 {
            muxer.frame(&frame?.data)?;
        }
        muxer.close()?;
        let bytes = file.sync()?;
        tracing::info!(
            reduction,
            bytes,
            max_bytes = self.video.spec.max_bytes,
            "video encoded again to fit its maximum size"
        );
        Ok(Attempt { file, bytes, reduction })
    }
}
