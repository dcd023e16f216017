//! Published architectures at full size with synthetic weights, without files.

use anyhow::{Context, Result};
use ltx2_models::Checkpoint;
use ltx2_models::text_encoder::Tokenizer;
use ltx2_pipeline::ModelSet;
use serde_json::{Value, json};

use crate::PublishedModel;

/// Tokenizer of the demo model; the tokens of a prompt do not affect speed or memory.
const TOKENIZER: &str = include_str!("../../../models/demo/gemma/tokenizer.json");

/// Returns the architecture of `model` with synthetic weights of `seed`.
///
/// # Errors
/// The architecture is not supported.
pub fn synthetic_models(model: PublishedModel, seed: u64) -> Result<ModelSet> {
    let spec = match model {
        PublishedModel::Ltx2_19b => include_str!("../../../models/architectures/ltx-2-19b.json"),
        PublishedModel::Ltx23_22b => include_str!("../../../models/architectures/ltx-2.3-22b.json"),
    };
    let mut spec: Value =
        serde_json::from_str(spec).with_context(|| format!("invalid architecture of {}", model.name()))?;
    let version = spec["model_version"].as_str().unwrap_or_default().to_string();
    let checkpoint = Checkpoint::synthetic(spec["config"].take(), &version, seed);
    // The other values of Gemma 3 12B are the defaults.
    let scaling = json!({"factor": 8.0, "rope_type": "linear"});
    let gemma = json!({"model_type": "gemma3", "text_config": {"rope_scaling": scaling}});
    let tokenizer = Tokenizer::from_bytes(TOKENIZER.as_bytes(), "the demo model's tokenizer.json".into())?;
    Ok(ModelSet::new(checkpoint, Checkpoint::synthetic(gemma, "", seed), tokenizer)?)
}
