//! Files of a model set: scan of a folder, choice of a file for each role, opening.

mod choose;
mod inspection;
mod scan;
mod selection;

use std::path::{Path, PathBuf};

use ltx2_models::text_encoder::Tokenizer;
use ltx2_models::{Checkpoint, CheckpointError};
use ltx2_types::CameraMotion;

use self::choose::CheckpointFiles;
use self::scan::Content;
use self::selection::{Selection, open_upscaler};
use crate::error::PipelineError;

pub use self::inspection::{FileReport, Inspection};
pub use self::selection::ModelChoice;

/// Files of a complete model set.
#[derive(Debug)]
pub(super) struct ModelFiles {
    checkpoint: CheckpointFiles,
    /// Folder or file of the text encoder.
    pub text_encoder: PathBuf,
    /// Folder of the tokenizer.
    tokenizer: PathBuf,
    upscaler: Option<PathBuf>,
    /// All LoRAs.
    pub loras: Vec<PathBuf>,
    /// Files in the folder for LoRAs that are not usable, with the reason.
    pub unusable_loras: Vec<(PathBuf, String)>,
    /// LoRA that distils the second stage.
    pub distilled_lora: Option<PathBuf>,
    /// LoRAs for camera motions.
    pub camera_loras: Vec<(CameraMotion, PathBuf)>,
    /// Remarks that the user should read.
    pub notes: Vec<String>,
}

impl ModelFiles {
    /// Finds the files in `folder`, apart from those in `choice`.
    ///
    /// # Errors
    /// A required file is missing; the error lists the files seen.
    pub(super) fn find(folder: &Path, choice: &ModelChoice) -> Result<Self, PipelineError> {
        let selection = Selection::of(folder, choice)?;
        let unusable_loras = selection.unusable_loras();
        let mut notes = selection.notes.clone();
        let broken = selection.entries.iter().filter_map(|entry| match &entry.content {
            Content::Broken(error) => Some(format!("skipped: {error}")),
            _ => None,
        });
        notes.extend(broken);
        match (&selection.checkpoint, &selection.text_encoder, &selection.tokenizer) {
            (Ok(checkpoint), Ok(text_encoder), Ok(tokenizer)) => Ok(Self {
                checkpoint: checkpoint.clone(),
                text_encoder: text_encoder.clone(),
                tokenizer: tokenizer.clone(),
                upscaler: selection.upscaler,
                loras: selection.loras,
                unusable_loras,
                distilled_lora: selection.distilled_lora,
                camera_loras: selection.camera_loras,
                notes,
            }),
            _ => Err(selection.error()),
        }
    }

    /// Opens the checkpoint.
    pub(super) fn checkpoint(&self) -> Result<Checkpoint, CheckpointError> {
        match &self.checkpoint {
            CheckpointFiles::Parts(parts) => Checkpoint::open_parts(parts),
            CheckpointFiles::Diffusers { folder, other } => Checkpoint::open_diffusers(folder, other.as_ref()),
        }
    }

    /// Opens the upscaler, if there is one.
    pub(super) fn upscaler(&self) -> Result<Option<Checkpoint>, CheckpointError> {
        self.upscaler.as_deref().map(open_upscaler).transpose()
    }

    /// Opens the tokenizer.
    pub(super) fn tokenizer(&self) -> Result<Tokenizer, PipelineError> {
        Ok(Tokenizer::open(&self.tokenizer)?)
    }
}
