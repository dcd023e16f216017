//! A video file as a stream of RGB frames.

use std::path::Path;

use ffmpeg_next::frame;
use image::DynamicImage;
use image::metadata::Orientation;
use ltx2_types::{ImageLimits, RgbImage, VideoInfo};

use super::error::DemuxError;
use super::probe::{VideoStream, check_size};
use super::reader::{StreamReader, open};
use crate::ffmpeg::{Converter, packed_rgb};

const VIDEO: &str = "video";

/// Opens the best video stream of a file. Frames are decoded on demand; only a few are in memory at a time.
///
/// The rotation in the metadata is applied. Timestamps are ignored: every frame is returned once.
pub(crate) fn open_video(path: &Path, limits: ImageLimits) -> Result<(VideoInfo, VideoFrames), DemuxError> {
    let input = open(path)?;
    let stream = VideoStream::best(&input, limits)?.ok_or(DemuxError::NoStream(VIDEO))?;
    let VideoStream { index, decoder, orientation, info } = stream;
    let size = (decoder.width(), decoder.height());
    let reader = StreamReader::new(input, index, decoder.0, VIDEO);
    Ok((info, VideoFrames { reader, orientation, size, limits, converter: None, is_done: false }))
}

/// Iterator over the frames of a video. It ends after the first error.
pub(crate) struct VideoFrames {
    reader: StreamReader,
    orientation: Orientation,
    /// Width and height before `orientation` is applied.
    size: (u32, u32),
    limits: ImageLimits,
    converter: Option<Converter>,
    is_done: bool,
}

impl VideoFrames {
    fn next_frame(&mut self) -> Result<Option<RgbImage>, DemuxError> {
        let mut frame = frame::Video::empty();
        if !self.reader.next(&mut frame)? {
            return Ok(None);
        }
        let rgb = self.convert(&frame).map_err(|source| DemuxError::Decode { kind: VIDEO, source })?;
        Ok(Some(self.make_upright(packed_rgb(&rgb))))
    }

    /// Converts a frame to RGB at the size of the stream. Size and pixel format may change in the middle of a stream.
    fn convert(&mut self, frame: &frame::Video) -> Result<frame::Video, ffmpeg_next::Error> {
        if check_size((frame.width(), frame.height()), self.limits).is_err() {
            return Err(ffmpeg_next::Error::InvalidData);
        }
        let mut converter = match self.converter.take() {
            Some(converter) if converter.accepts(frame) => converter,
            _ => Converter::to_rgb(frame, self.size)?,
        };
        let rgb = converter.run(frame);
        self.converter = Some(converter);
        rgb
    }

    fn make_upright(&self, data: Vec<u8>) -> RgbImage {
        let (width, height) = self.size;
        if self.orientation == Orientation::NoTransforms {
            return RgbImage { width, height, data };
        }
        // `from_raw` cannot fail: `data` has the size of a frame.
        let image = image::RgbImage::from_raw(width, height, data).unwrap_or_default();
        let mut image = DynamicImage::ImageRgb8(image);
        image.apply_orientation(self.orientation);
        RgbImage { width: image.width(), height: image.height(), data: image.into_rgb8().into_raw() }
    }
}

impl Iterator for VideoFrames {
    type Item = Result<RgbImage, DemuxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let frame = self.next_frame().transpose();
        self.is_done = !matches!(frame, Some(Ok(_)));
        frame
    }
}
