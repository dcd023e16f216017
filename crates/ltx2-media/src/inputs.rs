//! Inputs of a task, decoded from files.

use std::path::Path;

use ltx2_types::{
    AudioClip, Failure, FailureCode, ImageLimits, InputFile, InputId, InputKind, Inputs, RgbImage, VideoInput,
};

use crate::conditioning_image;

/// Inputs of a task as files, decoded on demand.
#[derive(Debug, Clone)]
pub struct FileInputs {
    files: Vec<InputFile>,
    limits: ImageLimits,
}

impl FileInputs {
    /// Returns the inputs in `files`. Images larger than `limits` are refused.
    pub fn new(files: Vec<InputFile>, limits: ImageLimits) -> Self {
        Self { files, limits }
    }

    fn path(&self, id: InputId, kind: InputKind) -> Result<&Path, Failure> {
        let file = self.files.iter().find(|file| file.id == id);
        match file {
            Some(file) if file.kind == kind => Ok(&file.path),
            Some(file) => {
                Err(internal(format!("input {id} is of kind {}, but {} was expected", file.kind.name(), kind.name())))
            }
            None => Err(internal(format!("input {id} is missing: the job has {} inputs", self.files.len()))),
        }
    }
}

impl Inputs for FileInputs {
    fn image(&mut self, id: InputId, crf: u32) -> Result<RgbImage, Failure> {
        let path = self.path(id, InputKind::Image)?;
        let bytes = std::fs::read(path).map_err(|error| {
            let name = path.file_name().unwrap_or_default().display();
            Failure::new(FailureCode::BadInput, format!("cannot read input image {name}: {error}"))
        })?;
        Ok(conditioning_image(&bytes, crf, self.limits)?)
    }

    fn video(&mut self, id: InputId) -> Result<VideoInput, Failure> {
        self.path(id, InputKind::Video)?;
        Err(Failure::new(FailureCode::BadInput, "video inputs are not supported yet"))
    }

    fn audio(&mut self, id: InputId, _: u32) -> Result<AudioClip, Failure> {
        self.path(id, InputKind::Audio)?;
        Err(Failure::new(FailureCode::BadInput, "audio inputs are not supported yet"))
    }
}

fn internal(message: String) -> Failure {
    Failure::new(FailureCode::Internal, message)
}
