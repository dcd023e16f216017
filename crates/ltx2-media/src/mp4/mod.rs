//! Frames and samples to an MP4 that browsers, telephones and WhatsApp play in place: H.264 High 4:2:0, AAC-LC stereo,
//! the index in front.

mod audio;
mod muxer;
mod resample;
mod video;

use std::path::{Path, PathBuf};

use ltx2_types::{AudioClip, Failure, Output, VideoInfo};

use self::muxer::Muxer;
use crate::{MediaError, pending_file::PendingFile};

/// Writes a video while it is produced. Nothing appears under the final name before [`Mp4Writer::finish`]; dropped
/// before that, the writer leaves nothing behind.
pub struct Mp4Writer {
    // Before the file, so that it is closed when the file is removed.
    state: State,
    file: PendingFile,
    target: PathBuf,
}

enum State {
    Created,
    Announced(VideoInfo),
    Open(Box<Muxer>),
}

/// A video that is in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The path given to [`Mp4Writer::create`].
    pub path: PathBuf,
    /// Size of the file.
    pub bytes: u64,
    /// What is in it.
    pub format: VideoInfo,
}

impl Mp4Writer {
    /// Prepares to write to `final_path`; its folder must exist. What is there already is replaced at the end.
    pub fn create(final_path: &Path) -> Result<Self, MediaError> {
        crate::ffmpeg::init();
        Ok(Self { state: State::Created, file: PendingFile::create(final_path)?, target: final_path.to_owned() })
    }

    /// Completes the file, puts it on disk and gives it its name. Fails if frames are missing.
    pub fn finish(self) -> Result<Written, MediaError> {
        let State::Open(muxer) = self.state else {
            return Err(MediaError::Order("it was finished before its format and sound were known"));
        };
        let format = muxer.close()?;
        let bytes = self.file.publish()?;
        Ok(Written { path: self.target, bytes, format })
    }

    fn open(&mut self, sound: AudioClip) -> Result<(), MediaError> {
        let State::Announced(format) = self.state else {
            return Err(MediaError::Order("the sound comes once, after the format"));
        };
        self.state = State::Open(Box::new(Muxer::open(self.file.path(), format, sound)?));
        Ok(())
    }

    fn push(&mut self, rgb: &[u8]) -> Result<(), MediaError> {
        match &mut self.state {
            State::Open(muxer) => muxer.frame(rgb),
            State::Created | State::Announced(_) => Err(MediaError::Order("a frame came before the sound")),
        }
    }
}

impl Output for Mp4Writer {
    fn start(&mut self, format: VideoInfo) -> Result<(), Failure> {
        if !matches!(self.state, State::Created) {
            return Err(MediaError::Order("the format comes once").into());
        }
        let VideoInfo { width, height, .. } = format;
        if width == 0 || height == 0 || width % 2 != 0 || height % 2 != 0 {
            return Err(MediaError::Size { width, height }.into());
        }
        self.state = State::Announced(format);
        Ok(())
    }

    fn audio(&mut self, sound: AudioClip) -> Result<(), Failure> {
        Ok(self.open(sound)?)
    }

    fn frame(&mut self, rgb: &[u8]) -> Result<(), Failure> {
        Ok(self.push(rgb)?)
    }
}
