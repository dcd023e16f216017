//! Architectures of the published models, for files without `config` in their metadata.

use serde_json::Value;

use crate::config::Section;
use crate::requested_tensors::requested_tensors;
use crate::transformer::{Transformer, TransformerConfig};
use crate::weight_files::TensorShapes;

const PUBLISHED: [&str; 2] = [
    include_str!("../../../../models/architectures/ltx-2-19b.json"),
    include_str!("../../../../models/architectures/ltx-2.3-22b.json"),
];

/// The architecture of a published model.
pub(super) struct Architecture {
    pub(super) config: Value,
    pub(super) version: String,
}

/// Returns the architecture of the published model that has the transformer of a checkpoint with the tensors `shapes`.
pub(super) fn published(shapes: &TensorShapes) -> Option<Architecture> {
    PUBLISHED.iter().find_map(|text| {
        let mut spec: Value = serde_json::from_str(text).expect("the published architectures are valid JSON");
        let config = TransformerConfig::new(&Section::root(&spec["config"]).section("transformer")).ok()?;
        let requested = requested_tensors(|vb| Transformer::new(&config, vb)).ok()?;
        // Matrices may be quantised, which changes their shape in the file.
        let mut vectors = requested.iter().filter(|(_, shape)| shape.len() == 1);
        let next_block = format!("model.diffusion_model.transformer_blocks.{}.", config.num_layers);
        let is_larger = shapes.keys().any(|name| name.starts_with(&next_block));
        let version = spec["model_version"].as_str().unwrap_or_default().to_string();
        let is_equal = vectors.all(|(name, shape)| shapes.get(name) == Some(shape)) && !is_larger;
        is_equal.then(|| Architecture { config: spec["config"].take(), version })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transformer_without_config_has_the_architecture_of_the_published_one_with_its_vectors() {
        for text in PUBLISHED {
            let spec: Value = serde_json::from_str(text).unwrap();
            let config = TransformerConfig::new(&Section::root(&spec["config"]).section("transformer")).unwrap();
            let shapes = requested_tensors(|vb| Transformer::new(&config, vb)).unwrap();
            let found = published(&shapes).unwrap();
            assert_eq!((&found.config, &found.version.into()), (&spec["config"], &spec["model_version"]));
            let block = |index: usize| format!("model.diffusion_model.transformer_blocks.{index}.attn1.q_norm.weight");
            let (mut fewer, mut more) = (shapes.clone(), shapes.clone());
            fewer.remove(&block(0)).unwrap();
            more.insert(block(config.num_layers), shapes[&block(0)].clone());
            assert!(published(&fewer).is_none() && published(&more).is_none());
        }
    }
}
