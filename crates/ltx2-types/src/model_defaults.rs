//! Defaults of requests that come with a model set.

use serde::Deserialize;

use crate::{FieldError, GenerationRequest, Limits, Task, validate};

/// Defaults of a model set, which replace those of [`Limits`]. The names are those of the request's fields.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelDefaults {
    /// Width in pixels.
    pub width: Option<i64>,
    /// Height in pixels.
    pub height: Option<i64>,
    /// Number of frames.
    pub num_frames: Option<i64>,
    /// Frames per second.
    pub frame_rate: Option<f64>,
    /// Denoising steps.
    pub num_inference_steps: Option<i64>,
    /// Text to steer away from.
    pub negative_prompt: Option<String>,
}

impl Limits {
    /// Returns the limits with the defaults of a model set.
    ///
    /// # Errors
    /// Every default that breaks a limit.
    pub fn with_defaults(mut self, model: &ModelDefaults) -> Result<Self, Vec<FieldError>> {
        let request = GenerationRequest {
            width: model.width,
            height: model.height,
            num_frames: model.num_frames,
            frame_rate: model.frame_rate,
            num_inference_steps: model.num_inference_steps,
            negative_prompt: model.negative_prompt.clone(),
            ..GenerationRequest::new(Task::TextToVideo, "")
        };
        self.defaults = validate(request, &self, || 0)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Field, FrameRate, ValidRequest};

    fn defaults(json: &str) -> ModelDefaults {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn defaults_of_a_model_set_replace_those_of_the_limits() {
        let limits = Limits::server().with_defaults(&defaults(r#"{"width": 128, "frame_rate": 12.5}"#)).unwrap();
        let expected =
            ValidRequest { width: 128, frame_rate: FrameRate::new(12.5).unwrap(), ..Limits::server().defaults };
        assert_eq!(limits, Limits { defaults: expected, ..Limits::server() });
    }

    #[test]
    fn a_default_that_breaks_a_limit_is_refused_by_name() {
        let errors = Limits::server().with_defaults(&defaults(r#"{"height": 96, "num_frames": 0}"#)).unwrap_err();
        assert_eq!(errors.iter().map(|error| error.field).collect::<Vec<_>>(), [Field::Height, Field::NumFrames]);
    }

    #[test]
    fn an_unknown_default_is_refused_by_name() {
        let error = serde_json::from_str::<ModelDefaults>(r#"{"heigth": 96}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `heigth`"), "{error}");
    }
}
