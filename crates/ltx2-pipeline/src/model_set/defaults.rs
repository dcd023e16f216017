//! Defaults of requests that come with a model set.

use std::io::ErrorKind;
use std::path::Path;

use ltx2_types::ModelDefaults;

use crate::error::PipelineError;

const FILE: &str = "defaults.json";

/// Reads `defaults.json` of a model set; without the file, nothing replaces the usual defaults.
///
/// # Errors
/// The file cannot be read, or has an unknown field or a value of another type.
pub(super) fn read(folder: &Path) -> Result<ModelDefaults, PipelineError> {
    let refuse = |reason| PipelineError::ModelSet { folder: folder.into(), reason };
    let text = match std::fs::read(folder.join(FILE)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(ModelDefaults::default()),
        read => read.map_err(|error| refuse(format!("{FILE} cannot be read: {error}")))?,
    };
    serde_json::from_slice(&text).map_err(|error| refuse(format!("{FILE} is not valid: {error}")))
}
