//! Video from another video.

use ltx2_types::{Field, FieldError, InputRef, Rule};

use super::types::Plan;

/// Refuses the task.
///
/// # Errors
/// Always: the task is not supported yet.
pub(super) fn plan(video: &InputRef) -> Result<Plan, FieldError> {
    Err(FieldError::new(Field::Video, video, Rule::Supported("video-to-video generation is not supported yet".into())))
}
