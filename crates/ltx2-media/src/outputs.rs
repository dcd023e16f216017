//! Output files of a job, written side by side.

use ltx2_types::{AudioClip, Failure, Output, OutputFile, OutputInfo, OutputRole, VideoInfo};

use crate::{
    MediaError, PendingOutput, VideoWriter,
    still::{StillKind, StillWriter},
};

/// Writer of all output files of a job. No file appears under its final name before [`PendingOutputs::publish`].
pub struct FileOutputs {
    writers: Vec<Writer>,
}

enum Writer {
    Video(Box<VideoWriter>),
    Still(StillWriter),
}

impl FileOutputs {
    /// Creates the pending files, with `metadata` in the video. Their folders must exist.
    ///
    /// # Errors
    /// A file cannot be created.
    pub fn create(files: &[OutputFile], metadata: Option<&str>) -> Result<Self, MediaError> {
        let writer = |file: &OutputFile| match file.role {
            OutputRole::Video => {
                let writer = VideoWriter::create(&file.path, file.spec)?;
                Ok(Writer::Video(Box::new(writer.with_metadata(metadata.map(str::to_owned)))))
            }
            OutputRole::Thumbnail => Ok(Writer::Still(StillWriter::create(StillKind::Thumbnail, &file.path)?)),
            OutputRole::LastFrame => Ok(Writer::Still(StillWriter::create(StillKind::LastFrame, &file.path)?)),
        };
        Ok(Self { writers: files.iter().map(writer).collect::<Result<_, MediaError>>()? })
    }

    /// Completes the pending files and flushes them to disk.
    ///
    /// # Errors
    /// Frames are missing, or a file cannot be written.
    pub fn finish(self) -> Result<PendingOutputs, MediaError> {
        let finish = |writer| match writer {
            Writer::Video(writer) => writer.finish(),
            Writer::Still(writer) => writer.finish(),
        };
        Ok(PendingOutputs(self.writers.into_iter().map(finish).collect::<Result<_, MediaError>>()?))
    }
}

impl Output for FileOutputs {
    fn start(&mut self, info: VideoInfo) -> Result<(), Failure> {
        self.writers.iter_mut().try_for_each(|writer| match writer {
            Writer::Video(writer) => writer.start(info),
            Writer::Still(writer) => {
                writer.start(info);
                Ok(())
            }
        })
    }

    fn audio(&mut self, clip: AudioClip) -> Result<(), Failure> {
        self.writers.iter_mut().try_for_each(|writer| match writer {
            Writer::Video(writer) => writer.audio(clip.clone()),
            Writer::Still(_) => Ok(()),
        })
    }

    fn frame(&mut self, rgb: &[u8]) -> Result<(), Failure> {
        self.writers.iter_mut().try_for_each(|writer| match writer {
            Writer::Video(writer) => writer.frame(rgb),
            Writer::Still(writer) => {
                writer.frame(rgb);
                Ok(())
            }
        })
    }
}

/// Complete output files without their final names. They are removed if dropped.
#[derive(Debug)]
pub struct PendingOutputs(Vec<PendingOutput>);

impl PendingOutputs {
    /// Returns the properties of the files, in the order of the job.
    pub fn info(&self) -> Vec<OutputInfo> {
        self.0.iter().map(|output| output.info().clone()).collect()
    }

    /// Gives all files their final names.
    ///
    /// # Errors
    /// A file cannot be renamed. Files before it have their final names already.
    pub fn publish(self) -> Result<(), MediaError> {
        self.0.into_iter().try_for_each(|output| output.publish().map(drop))
    }
}
