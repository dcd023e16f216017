//! Planning: a valid request becomes a [`Plan`], plain data about the work of each stage, before anything is
//! loaded.

mod audio_to_video;
mod base;
mod capabilities;
mod defaults;
mod extend;
mod feasible;
mod generate;
mod loras;
mod memory;
mod retake;
mod source;
mod stages;
mod types;
mod video_to_video;
mod weight_sizes;

use ltx2_types::{FieldError, Task, ValidRequest};

pub(crate) use base::generated_frames;
pub use capabilities::ModelCapabilities;
pub use defaults::{DEFAULT_TILING, default_steps, default_stg_block};
pub use feasible::largest_feasible;
pub(crate) use loras::lora_names;
pub use memory::{MemoryEstimate, estimate};
pub use types::{
    ItemPlan, LoraPlan, ModalityPlan, Origin, OutputPlan, Plan, SourceOutput, SourcePlan, Span, StagePlan, Start,
    TilingPlan,
};
pub use weight_sizes::WeightSizes;

/// Plans `request` for a model. This is the only place that matches on the kind of task.
///
/// # Errors
/// A field that the model does not support.
pub fn plan_request(request: &ValidRequest, model: &ModelCapabilities) -> Result<Plan, FieldError> {
    match &request.task {
        Task::TextToVideo => generate::plan(request, model, Vec::new()),
        Task::ImageToVideo { images } => generate::plan(request, model, generate::image_items(images, 0)),
        Task::Keyframes { images } => generate::plan(request, model, generate::keyframe_items(images)),
        Task::Extend(task) => extend::plan(request, model, task),
        Task::Retake { window, part, .. } => retake::plan(request, model, *window, *part),
        Task::AudioToVideo { images, .. } => audio_to_video::plan(request, model, images),
        Task::VideoToVideo { strength, .. } => video_to_video::plan(request, model, *strength),
    }
}

#[cfg(test)]
mod tests;
