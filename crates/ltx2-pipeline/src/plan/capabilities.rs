//! Capabilities of a model set.

use std::path::PathBuf;

use ltx2_models::upsampler::SpatialScale;
use ltx2_types::{CameraMotion, Pipeline};

/// Properties of a model set on which plans depend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelCapabilities {
    /// `model_version` of the checkpoint.
    pub version: String,
    /// Number of transformer blocks.
    pub num_layers: usize,
    /// Whether the checkpoint is distilled.
    pub distilled: bool,
    /// Scale of the spatial upscaler, if there is one.
    pub upscaler: Option<SpatialScale>,
    /// LoRA that distils the second stage.
    pub distilled_lora: Option<PathBuf>,
    /// All LoRAs; requests refer to them by the names of `lora_names`.
    pub loras: Vec<PathBuf>,
    /// Files in the folder for LoRAs that are not usable, with the reason.
    pub unusable_loras: Vec<(PathBuf, String)>,
    /// LoRAs for camera motions.
    pub camera_loras: Vec<(CameraMotion, PathBuf)>,
}

impl ModelCapabilities {
    /// Returns the best pipeline that the model set supports.
    pub(super) fn default_pipeline(&self) -> Pipeline {
        match (self.distilled, self.upscaler.is_some(), &self.distilled_lora) {
            (true, _, _) => Pipeline::Distilled,
            (false, true, Some(_)) => Pipeline::TwoStage,
            _ => Pipeline::OneStage,
        }
    }
}
