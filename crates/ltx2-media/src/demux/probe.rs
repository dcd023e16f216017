//! Properties of a video stream.

use ffmpeg_next::codec::packet::side_data;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Rational, Stream, decoder, media};
use image::metadata::Orientation;
use ltx2_types::{FrameRate, ImageLimits, VideoInfo};

use super::error::DemuxError;
use super::reader::decoder_for;

/// The best video stream of a file, with its decoder.
pub(super) struct VideoStream {
    pub(super) index: usize,
    pub(super) decoder: decoder::Video,
    pub(super) orientation: Orientation,
    /// Properties of the upright frames.
    pub(super) info: VideoInfo,
}

impl VideoStream {
    /// Returns the best video stream; `None` if the file has none.
    pub(super) fn best(input: &Input, limits: ImageLimits) -> Result<Option<Self>, DemuxError> {
        let Some(stream) = input.streams().best(media::Type::Video) else { return Ok(None) };
        let decoder = decoder_for(&stream).and_then(|decoder| decoder.video());
        let decoder = decoder.map_err(|source| DemuxError::Decoder { kind: "video", source })?;
        let (width, height) = (decoder.width(), decoder.height());
        check_size((width, height), limits)?;
        let orientation = orientation(&stream);
        let upright = if swaps_sides(orientation) { (height, width) } else { (width, height) };
        Ok(Some(Self { index: stream.index(), decoder, orientation, info: video_info(&stream, upright)? }))
    }
}

/// Returns the properties of a video stream whose upright frames have `width` by `height` pixels.
fn video_info(stream: &Stream<'_>, (width, height): (u32, u32)) -> Result<VideoInfo, DemuxError> {
    let frame_rate = [stream.avg_frame_rate(), stream.rate()].into_iter().find_map(frame_rate);
    let frame_rate = frame_rate.ok_or(DemuxError::NoFrameRate)?;
    Ok(VideoInfo { width, height, num_frames: num_frames(stream, frame_rate), frame_rate })
}

fn frame_rate(rate: Rational) -> Option<FrameRate> {
    FrameRate::new(f64::from(rate.numerator()) / f64::from(rate.denominator()))
}

/// Returns the number of frames that the container states, or an estimate from the duration.
fn num_frames(stream: &Stream<'_>, frame_rate: FrameRate) -> u32 {
    let stated = u32::try_from(stream.frames()).unwrap_or(0);
    if stated > 0 {
        return stated;
    }
    // A missing duration is a large negative number.
    let seconds = stream.duration().max(0) as f64 * f64::from(stream.time_base());
    (seconds * frame_rate.as_f64()).round() as u32
}

/// Checks the size of the frames against the limits for images.
pub(super) fn check_size((width, height): (u32, u32), limits: ImageLimits) -> Result<(), DemuxError> {
    let ImageLimits { max_pixels, max_side } = limits;
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(DemuxError::Empty("video"));
    }
    if pixels > max_pixels || width.max(height) > max_side {
        return Err(DemuxError::TooLarge { width, height, max_pixels, max_side });
    }
    Ok(())
}

/// Returns the transform that makes the frames of a stream upright.
fn orientation(stream: &Stream<'_>) -> Orientation {
    let matrix = stream.side_data().find(|data| data.kind() == side_data::Type::DisplayMatrix);
    matrix.and_then(|data| from_display_matrix(data.data())).unwrap_or(Orientation::NoTransforms)
}

/// Returns the nearest multiple of 90 degrees, with or without a flip, of a display matrix: 9 integers of 32 bits, row
/// by row. A point (x, y) is displayed at (a x + c y, b x + d y), with a and b in the first row, c and d in the second.
fn from_display_matrix(bytes: &[u8]) -> Option<Orientation> {
    let at = |index: usize| {
        let bytes = bytes.get(index * 4..index * 4 + 4)?;
        Some(i64::from(i32::from_ne_bytes(bytes.try_into().ok()?)))
    };
    let (a, b, c, d) = (at(0)?, at(1)?, at(3)?, at(4)?);
    Some(if a.abs() + d.abs() >= b.abs() + c.abs() {
        match (a < 0, d < 0) {
            (false, false) => Orientation::NoTransforms,
            (true, true) => Orientation::Rotate180,
            (true, false) => Orientation::FlipHorizontal,
            (false, true) => Orientation::FlipVertical,
        }
    } else {
        match (b < 0, c < 0) {
            (false, true) => Orientation::Rotate90,
            (true, false) => Orientation::Rotate270,
            (false, false) => Orientation::Rotate90FlipH,
            (true, true) => Orientation::Rotate270FlipH,
        }
    })
}

/// Returns whether the transform exchanges width and height.
fn swaps_sides(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orientation_of(a: i32, b: i32, c: i32, d: i32) -> Option<Orientation> {
        let one = 1 << 16;
        let matrix = [a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30];
        from_display_matrix(&matrix.map(i32::to_ne_bytes).concat())
    }

    #[test]
    fn display_matrices_map_to_all_eight_orientations() {
        let expected = [
            ((1, 0, 0, 1), Orientation::NoTransforms),
            ((0, 1, -1, 0), Orientation::Rotate90),
            ((-1, 0, 0, -1), Orientation::Rotate180),
            ((0, -1, 1, 0), Orientation::Rotate270),
            ((-1, 0, 0, 1), Orientation::FlipHorizontal),
            ((1, 0, 0, -1), Orientation::FlipVertical),
            ((0, 1, 1, 0), Orientation::Rotate90FlipH),
            ((0, -1, -1, 0), Orientation::Rotate270FlipH),
        ];
        for ((a, b, c, d), orientation) in expected {
            assert_eq!(orientation_of(a, b, c, d), Some(orientation), "{:?}", (a, b, c, d));
        }
    }

    #[test]
    fn a_short_display_matrix_is_ignored() {
        assert_eq!(from_display_matrix(&[0; 16]), None);
    }
}
