//! Report of the LoRAs of a model set.

use std::path::PathBuf;

use ltx2_models::CheckpointError;
use ltx2_types::CameraMotion;

use super::ModelSet;
use crate::plan::lora_names;

/// LoRAs in the folder of a model set, usable or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoraReport {
    /// Usable LoRAs, with the names by which requests refer to them.
    pub usable: Vec<(String, PathBuf)>,
    /// Camera motions that have a usable LoRA.
    pub cameras: Vec<CameraMotion>,
    /// Files that cannot be used, with the reason.
    pub unusable: Vec<(PathBuf, String)>,
}

impl ModelSet {
    /// Returns a report of the LoRAs; checks their headers.
    pub fn lora_report(&self) -> LoraReport {
        let (mut usable, mut unusable) = (Vec::new(), self.unusable_loras.clone());
        for (name, path) in lora_names(&self.loras) {
            match self.lora(path) {
                Ok(_) => usable.push((name, path.to_path_buf())),
                Err(CheckpointError::Lora { reason, .. }) => unusable.push((path.to_path_buf(), reason)),
                Err(error) => unusable.push((path.to_path_buf(), error.to_string())),
            }
        }
        let is_usable = |file: &PathBuf| usable.iter().any(|(_, path)| path == file);
        let cameras = self.camera_loras.iter().filter(|(_, file)| is_usable(file)).map(|(motion, _)| *motion);
        LoraReport { cameras: cameras.collect(), usable, unusable }
    }
}
