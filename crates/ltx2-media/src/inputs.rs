//! Inputs of a task, decoded from files.

use std::fmt::Display;

use ltx2_types::{
    AudioClip, Failure, FailureCode, ImageLimits, InputFile, InputId, InputKind, Inputs, RgbImage, VideoInput,
};

use crate::conditioning_image;
use crate::demux::{open_video, read_audio};

/// Inputs of a task as files, decoded on demand.
#[derive(Debug, Clone)]
pub struct FileInputs {
    files: Vec<InputFile>,
    limits: ImageLimits,
}

impl FileInputs {
    /// Returns the inputs in `files`. Images and video frames larger than `limits` are refused.
    pub fn new(files: Vec<InputFile>, limits: ImageLimits) -> Self {
        Self { files, limits }
    }

    fn file(&self, id: InputId, kinds: &[InputKind]) -> Result<&InputFile, Failure> {
        match self.files.iter().find(|file| file.id == id) {
            Some(file) if kinds.contains(&file.kind) => Ok(file),
            Some(file) => {
                let expected: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
                let expected = expected.join(" or ");
                Err(internal(format!("input {id} is of kind {}, but {expected} was expected", file.kind.name())))
            }
            None => Err(internal(format!("input {id} is missing: the job has {} inputs", self.files.len()))),
        }
    }
}

impl Inputs for FileInputs {
    fn image(&mut self, id: InputId, crf: u32) -> Result<RgbImage, Failure> {
        let file = self.file(id, &[InputKind::Image])?;
        let bytes = std::fs::read(&file.path)
            .map_err(|error| Failure::new(FailureCode::BadInput, format!("cannot read {}: {error}", name(file))))?;
        conditioning_image(&bytes, crf, self.limits).map_err(|error| {
            let Failure { code, message } = error.into();
            Failure { code, ..bad_input(file, &message) }
        })
    }

    fn video(&mut self, id: InputId) -> Result<VideoInput, Failure> {
        let file = self.file(id, &[InputKind::Video])?.clone();
        let (info, frames) = open_video(&file.path, self.limits).map_err(|error| bad_input(&file, &error))?;
        let frames = frames.map(move |frame| frame.map_err(|error| bad_input(&file, &error)));
        Ok(VideoInput { info, frames: Box::new(frames) })
    }

    fn audio(&mut self, id: InputId, sample_rate: u32) -> Result<AudioClip, Failure> {
        let file = self.file(id, &[InputKind::Audio, InputKind::Video])?;
        read_audio(&file.path, sample_rate).map_err(|error| bad_input(file, &error))
    }
}

fn bad_input(file: &InputFile, error: &dyn Display) -> Failure {
    let InputFile { id, kind, .. } = file;
    let message = format!("cannot use {} input {id} ({}): {error}", kind.name(), name(file));
    Failure::new(FailureCode::BadInput, message)
}

fn name(file: &InputFile) -> impl Display {
    file.path.file_name().unwrap_or_default().display()
}

fn internal(message: String) -> Failure {
    Failure::new(FailureCode::Internal, message)
}
