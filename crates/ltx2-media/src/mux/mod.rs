//! Writing videos: frames and audio samples to a container file.
//!
//! By default a video has H.264 High 4:2:0 and AAC-LC stereo, in the form that browsers and phones play inline.

mod audio;
mod container;
mod content;
mod encoders;
mod encoding;
mod gif;
mod muxer;
mod png_zip;
mod reencode;
mod resample;
mod settings;
mod video;

use std::path::Path;

use ltx2_types::{AudioClip, Failure, Output, OutputInfo, OutputRole, OutputSpec, Quality, VideoInfo};

pub use self::encoders::missing_encoders;
use self::{content::Video, encoding::Encoding, reencode::Source};
use crate::{MediaError, PendingOutput, pending_file::PendingFile};

/// Writer of a video, encoding frames as they come. Nothing appears under the final name before
/// [`PendingOutput::publish`]; a writer that is dropped leaves no file.
///
/// The video has no audio stream if the specification excludes audio or [`Output::audio`] is not called before the
/// first frame.
pub struct VideoWriter {
    // Declared before the file, so that the muxer closes it before it is removed.
    state: State,
    file: PendingFile,
    spec: OutputSpec,
    metadata: Option<String>,
    /// The frames, kept if the size of the file is limited.
    source: Option<Source>,
}

enum State {
    Created,
    Started(VideoInfo),
    Open(Box<Encoding>),
}

impl VideoWriter {
    /// Creates the pending file of a video of format `spec`. The folder of `path` must exist.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: &Path, spec: OutputSpec) -> Result<Self, MediaError> {
        crate::ffmpeg::init();
        Ok(Self { state: State::Created, file: PendingFile::create(path)?, spec, metadata: None, source: None })
    }

    /// Sets the comment in the file's metadata.
    #[must_use]
    pub fn with_metadata(self, metadata: Option<String>) -> Self {
        Self { metadata, ..self }
    }

    /// Completes the pending file and flushes it to disk. A file above the maximum size is encoded again.
    ///
    /// # Errors
    /// Frames are missing, the file cannot be written, or its maximum size cannot be reached.
    pub fn finish(self) -> Result<PendingOutput, MediaError> {
        let info = match self.state {
            State::Created => return Err(MediaError::Order("the video was finished before it was started")),
            State::Started(info) => return Err(MediaError::FrameCount { expected: info.num_frames, received: 0 }),
            State::Open(encoding) => encoding.close()?,
        };
        let bytes = self.file.sync()?;
        let (file, bytes, note) = match (self.source, self.spec.max_bytes) {
            (Some(source), Some(max_bytes)) if bytes > max_bytes => {
                let fit = source.fit(bytes, max_bytes)?;
                (fit.file, fit.bytes, Some(reduction_note(self.spec.quality, bytes, max_bytes)))
            }
            _ => (self.file, bytes, None),
        };
        let info = OutputInfo {
            role: OutputRole::Video,
            mime: self.spec.container.mime().into(),
            bytes,
            width: Some(info.width),
            height: Some(info.height),
            duration: Some(info.frame_rate.seconds(info.num_frames)),
            note,
        };
        Ok(PendingOutput { file, info })
    }

    fn add_audio(&mut self, clip: AudioClip) -> Result<(), MediaError> {
        let State::Started(info) = self.state else {
            return Err(MediaError::Order("audio must come once, after the start and before the first frame"));
        };
        self.open(info, self.spec.audio.then_some(clip))
    }

    fn add_frame(&mut self, rgb: &[u8]) -> Result<(), MediaError> {
        if let State::Started(info) = self.state {
            self.open(info, None)?;
        }
        match &mut self.state {
            State::Open(encoding) => encoding.frame(rgb)?,
            State::Created | State::Started(_) => return Err(MediaError::Order("a frame came before the start")),
        }
        self.source.as_mut().map_or(Ok(()), |source| source.frame(rgb))
    }

    fn open(&mut self, info: VideoInfo, audio: Option<AudioClip>) -> Result<(), MediaError> {
        let video = Video { spec: self.spec, info, audio, metadata: self.metadata.take() };
        if self.spec.max_bytes.is_some() {
            self.source = Some(Source::create(self.file.target(), video.clone())?);
        }
        self.state = State::Open(Box::new(Encoding::open(self.file.path(), video)?));
        Ok(())
    }
}

/// Returns the note on a video of `bytes` bytes that was encoded again.
fn reduction_note(quality: Quality, bytes: u64, max_bytes: u64) -> String {
    let quality = quality.name();
    format!(
        "the quality is below {quality}: at {quality} quality the video has {bytes} bytes, above max_bytes {max_bytes}"
    )
}

impl Output for VideoWriter {
    fn start(&mut self, info: VideoInfo) -> Result<(), Failure> {
        if !matches!(self.state, State::Created) {
            return Err(MediaError::Order("the video was started twice").into());
        }
        let VideoInfo { width, height, .. } = info;
        if width == 0 || height == 0 || width % 2 != 0 || height % 2 != 0 {
            return Err(MediaError::Size { width, height }.into());
        }
        self.state = State::Started(info);
        Ok(())
    }

    fn audio(&mut self, clip: AudioClip) -> Result<(), Failure> {
        Ok(self.add_audio(clip)?)
    }

    fn frame(&mut self, rgb: &[u8]) -> Result<(), Failure> {
        Ok(self.add_frame(rgb)?)
    }
}
