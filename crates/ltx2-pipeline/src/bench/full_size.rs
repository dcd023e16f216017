//! The published models at full size with synthetic weights, and no file.

use ltx2_models::Checkpoint;
use ltx2_models::text_encoder::Tokenizer;
use serde_json::{Value, json};

use crate::demo_model::Base;
use crate::{ModelSet, PipelineError};

/// Of the demo model: which tokens a text has does not matter here.
const TOKENIZER: &str = include_str!("../../../../models/demo/gemma/tokenizer.json");

impl ModelSet {
    /// The architecture of `base` with weights of `seed`.
    pub fn synthetic(base: Base, seed: u64) -> Result<Self, PipelineError> {
        let spec = match base {
            Base::Ltx2_19b => include_str!("../../../../scripts/reference/configs/ltx-2-19b.json"),
            Base::Ltx23_22b => include_str!("../../../../scripts/reference/configs/ltx-2.3-22b.json"),
        };
        let broken = |error| PipelineError::Request(format!("the architecture of {}: {error}", base.name()));
        let mut spec: Value = serde_json::from_str(spec).map_err(broken)?;
        let version = spec["model_version"].as_str().unwrap_or_default().to_string();
        let checkpoint = Checkpoint::synthetic(spec["config"].take(), &version, seed);
        // Everything else is Gemma 3 12B's by default.
        let scaling = json!({"factor": 8.0, "rope_type": "linear"});
        let gemma = json!({"model_type": "gemma3", "text_config": {"rope_scaling": scaling}});
        let tokenizer = Tokenizer::from_bytes(TOKENIZER.as_bytes(), "the demo model's tokenizer.json".into())?;
        Self::new(checkpoint, Checkpoint::synthetic(gemma, "", seed), tokenizer)
    }
}
