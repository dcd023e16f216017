//! Report of the files of a folder: the kind of each, the files that a model set would use, the missing ones.

use std::path::{Path, PathBuf};

use ltx2_models::checkpoint::Component;
use serde::Serialize;

use super::choose::CheckpointFiles;
use super::scan::MODEL_INDEX;
use super::selection::{ModelChoice, Selection};
use crate::error::PipelineError;

/// Files of a folder and their roles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// The folder.
    pub folder: PathBuf,
    /// Files and folders with models, and files that look like ones.
    pub files: Vec<FileReport>,
    /// Descriptions of required files that are missing.
    pub missing: Vec<String>,
    /// Remarks about choices among several files.
    pub notes: Vec<String>,
}

/// A file of an inspected folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// The file or folder.
    pub path: PathBuf,
    /// Size in bytes.
    pub bytes: u64,
    /// Description of the content, or the error.
    pub content: String,
    /// Roles for which the file would be used.
    pub used_as: Vec<String>,
}

impl Inspection {
    /// Inspects `folder` as it would be opened with `choice`; reads headers only.
    ///
    /// # Errors
    /// The folder or a file of `choice` cannot be read.
    pub fn of(folder: &Path, choice: &ModelChoice) -> Result<Self, PipelineError> {
        let selection = Selection::of(folder, choice)?;
        let files = selection.entries.iter().map(|entry| FileReport {
            path: entry.path.clone(),
            bytes: entry.bytes,
            content: entry.content.describe(),
            used_as: selection.roles(&entry.path),
        });
        Ok(Self {
            folder: folder.into(),
            files: files.collect(),
            missing: selection.missing(),
            notes: selection.notes.clone(),
        })
    }
}

impl Selection {
    fn roles(&self, path: &Path) -> Vec<String> {
        let mut roles = Vec::new();
        if let Ok(checkpoint) = &self.checkpoint {
            roles.extend(checkpoint.roles(path));
        }
        let is = |role: Option<&PathBuf>| role.is_some_and(|file| file == path);
        for (role, file) in [
            ("text encoder", self.text_encoder.as_ref().ok()),
            ("spatial upscaler", self.upscaler.as_ref()),
            ("distilled LoRA", self.distilled_lora.as_ref()),
        ] {
            if is(file) {
                roles.push(role.into());
            }
        }
        let motions = self.camera_loras.iter().filter(|(_, file)| file == path);
        roles.extend(motions.map(|(motion, _)| format!("camera {}", motion.name())));
        let names = crate::plan::lora_names(&self.loras);
        roles.extend(names.into_iter().filter(|(_, file)| *file == path).map(|(name, _)| format!("LoRA {name:?}")));
        roles
    }
}

impl CheckpointFiles {
    fn roles(&self, path: &Path) -> Vec<String> {
        let names = |components: &[Component]| match components.len() {
            6 => vec!["checkpoint".to_string()],
            _ => components.iter().map(|component| component.name().into()).collect(),
        };
        let (parts, folder) = match self {
            Self::Parts(parts) => (parts.as_slice(), None),
            Self::Diffusers { folder, other } => (other.as_slice(), Some(folder)),
        };
        let index = folder.filter(|folder| path.parent() == Some(folder) && path.ends_with(MODEL_INDEX));
        let own = parts.iter().filter(|part| part.path == path).flat_map(|part| names(&part.components));
        own.chain(index.map(|_| "checkpoint".into())).collect()
    }
}
