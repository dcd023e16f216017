//! Video for given audio.

use ltx2_types::{Field, FieldError, InputRef, Rule};

use super::types::Plan;

/// Refuses the task.
///
/// # Errors
/// Always: the task is not supported yet.
pub(super) fn plan(audio: &InputRef) -> Result<Plan, FieldError> {
    Err(FieldError::new(Field::Audio, audio, Rule::Supported("audio-to-video generation is not supported yet".into())))
}
