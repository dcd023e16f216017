//! Animated GIFs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use gif::{Encoder, Extension, Frame, Repeat};
use ltx2_types::VideoInfo;

use super::content::Video;
use crate::MediaError;

/// Pixels per sample from which a palette is computed; 1 takes the longest.
const SAMPLE: i32 = 10;

/// Writer of a GIF that repeats. Each frame has its own palette of 256 colours.
pub(super) struct GifWriter {
    encoder: Encoder<BufWriter<File>>,
    info: VideoInfo,
    sent: u32,
}

impl GifWriter {
    pub(super) fn open(path: &Path, video: &Video) -> Result<Self, MediaError> {
        let info = video.info;
        let file = File::options().write(true).truncate(true).open(path).map_err(|error| failed(error.into()))?;
        let (width, height) = size(info)?;
        let mut encoder = Encoder::new(BufWriter::new(file), width, height, &[]).map_err(failed)?;
        encoder.set_repeat(Repeat::Infinite).map_err(failed)?;
        if let Some(metadata) = &video.metadata {
            // An extension is a list of blocks of up to 255 bytes.
            let blocks: Vec<&[u8]> = metadata.as_bytes().chunks(255).collect();
            encoder.write_raw_extension(Extension::Comment.into(), &blocks).map_err(failed)?;
        }
        Ok(Self { encoder, info, sent: 0 })
    }

    pub(super) fn frame(&mut self, rgb: &[u8]) -> Result<(), MediaError> {
        let (width, height) = size(self.info)?;
        let mut frame = Frame::from_rgb_speed(width, height, rgb, SAMPLE);
        // Delays are whole hundredths of a second. Their sum stays within half of one of the exact time.
        let time = |frames| (self.info.frame_rate.seconds(frames) * 100.0).round();
        frame.delay = (time(self.sent + 1) - time(self.sent)) as u16;
        self.sent += 1;
        self.encoder.write_frame(&frame).map_err(failed)
    }

    pub(super) fn close(self) -> Result<(), MediaError> {
        self.encoder.into_inner().and_then(|mut file| Ok(file.flush()?)).map_err(failed)
    }
}

fn size(info: VideoInfo) -> Result<(u16, u16), MediaError> {
    let VideoInfo { width, height, .. } = info;
    let side = |length| u16::try_from(length).map_err(|_| MediaError::Size { width, height });
    Ok((side(width)?, side(height)?))
}

fn failed(error: gif::EncodingError) -> MediaError {
    MediaError::Encoder { format: "GIF", reason: error.to_string() }
}
