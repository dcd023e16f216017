//! Layer names of LoRA files, mapped to the tensors of the networks.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use crate::diffusers_names::component;
use crate::weight_files::TensorShapes;

/// Prefix of the transformer in a checkpoint.
const TRANSFORMER_PREFIX: &str = "model.diffusion_model.";
/// Prefixes of layer names, in any combination: those of peft, ComfyUI, diffusers and torch's wrappers.
const PREFIXES: [&str; 6] = ["base_model.", "model.", "diffusion_model.", "transformer.", "module.", "_orig_mod."];
/// Prefixes of layer names in which dots are underscores: those of kohya and LyCORIS.
const FLAT_PREFIXES: [&str; 4] = ["lora_unet_", "lora_transformer_", "lycoris_", "lora_"];
/// Prefixes that may follow one of [`FLAT_PREFIXES`].
const FLAT_INNER_PREFIXES: [&str; 4] = ["model_diffusion_model_", "diffusion_model_", "transformer_", "_orig_mod_"];

/// The tensors that LoRAs can update, by the layer names that trainers use.
pub(super) struct Targets<'a> {
    shapes: &'a TensorShapes,
    flat: OnceCell<FlatNames<'a>>,
}

/// Layer of each name with underscores; `None` if several layers share it.
type FlatNames<'a> = BTreeMap<String, Option<&'a str>>;

impl<'a> Targets<'a> {
    pub(super) fn new(shapes: &'a TensorShapes) -> Self {
        Self { shapes, flat: OnceCell::new() }
    }

    fn flat_names(&self) -> FlatNames<'a> {
        let mut flat = FlatNames::new();
        for layer in self.shapes.keys().filter_map(|name| name.strip_suffix(".weight")) {
            let bare = layer.strip_prefix(TRANSFORMER_PREFIX).unwrap_or(layer).to_string();
            let connectors = component("connectors").diffusers_name(layer);
            let names = [Some(bare), component("transformer").diffusers_name(layer), connectors];
            let mut names: Vec<String> = names.into_iter().flatten().map(|name| name.replace('.', "_")).collect();
            names.sort();
            names.dedup();
            for name in names {
                flat.entry(name).and_modify(|other| *other = None).or_insert(Some(layer));
            }
        }
        flat
    }

    /// Returns the layer of the networks that `name` stands for.
    pub(super) fn layer(&self, name: &str) -> Option<String> {
        let has = |layer: &String| {
            [".weight", ".bias", ""].iter().any(|suffix| self.shapes.contains_key(&format!("{layer}{suffix}")))
        };
        let bare = without_prefixes(name);
        let is_of_connectors = bare.strip_prefix("connectors.").unwrap_or(&bare);
        let candidates = [
            format!("{TRANSFORMER_PREFIX}{bare}"),
            bare.clone(),
            component("transformer").rename(&bare, 0),
            component("connectors").rename(is_of_connectors, 0),
        ];
        candidates.into_iter().find(has).or_else(|| self.flat_layer(name))
    }

    fn flat_layer(&self, name: &str) -> Option<String> {
        let flat = FLAT_PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix))?;
        let known = self.flat.get_or_init(|| self.flat_names());
        let inner = FLAT_INNER_PREFIXES.iter().filter_map(|prefix| flat.strip_prefix(prefix));
        let found = std::iter::once(flat).chain(inner).find_map(|name| known.get(name).copied().flatten());
        found.map(String::from)
    }

    /// Returns the name and shape of the weight of `layer`: a tensor `weight`, or the layer itself, such as a
    /// `scale_shift_table`.
    pub(super) fn weight(&self, layer: &str) -> Option<(String, &'a [usize])> {
        self.tensor(format!("{layer}.weight")).or_else(|| self.tensor(layer.into()))
    }

    /// Returns the name and shape of the bias of `layer`.
    pub(super) fn bias(&self, layer: &str) -> Option<(String, &'a [usize])> {
        self.tensor(format!("{layer}.bias"))
    }

    fn tensor(&self, name: String) -> Option<(String, &'a [usize])> {
        self.shapes.get(&name).map(|shape| (name, shape.as_slice()))
    }
}

/// Removes prefixes of wrappers from a layer name.
fn without_prefixes(name: &str) -> String {
    let mut name = name.replace("._orig_mod.", ".");
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) {
        name = rest.into();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_names_of_all_trainers_are_found() {
        const CONNECTOR: &str = "model.diffusion_model.video_embeddings_connector.transformer_1d_blocks.0.attn1";
        let layers = [
            "model.diffusion_model.transformer_blocks.0.attn1.to_out.0".to_string(),
            "model.diffusion_model.patchify_proj".into(),
            "model.diffusion_model.adaln_single.emb.timestep_embedder.linear_1".into(),
            format!("{CONNECTOR}.to_q"),
            format!("{CONNECTOR}.q_norm"),
            "text_embedding_projection.aggregate_embed".into(),
        ];
        let shapes = layers.iter().map(|layer| (format!("{layer}.weight"), vec![2, 2])).collect();
        let targets = Targets::new(&shapes);
        for (name, layer) in [
            ("diffusion_model.transformer_blocks.0.attn1.to_out.0", 0),
            ("transformer.transformer_blocks.0.attn1.to_out.0", 0),
            ("model.diffusion_model.transformer_blocks.0.attn1.to_out.0", 0),
            ("base_model.model.transformer_blocks.0.attn1.to_out.0", 0),
            ("base_model.model.diffusion_model._orig_mod.transformer_blocks.0.attn1.to_out.0", 0),
            ("transformer_blocks.0.attn1.to_out.0", 0),
            ("transformer_blocks.0._orig_mod.attn1.to_out.0", 0),
            ("lora_unet_transformer_blocks_0_attn1_to_out_0", 0),
            ("lora_unet_diffusion_model_transformer_blocks_0_attn1_to_out_0", 0),
            ("lycoris_transformer_blocks_0_attn1_to_out_0", 0),
            ("transformer.proj_in", 1),
            ("lora_transformer_proj_in", 1),
            ("lora_unet_patchify_proj", 1),
            ("transformer.time_embed.emb.timestep_embedder.linear_1", 2),
            ("connectors.video_connector.transformer_blocks.0.attn1.to_q", 3),
            ("diffusion_model.video_embeddings_connector.transformer_1d_blocks.0.attn1.to_q", 3),
            ("connectors.video_connector.transformer_blocks.0.attn1.norm_q", 4),
            ("connectors.text_proj_in", 5),
            ("text_embedding_projection.aggregate_embed", 5),
            ("diffusion_model.text_embedding_projection.aggregate_embed", 5),
            ("lora_unet_text_embedding_projection_aggregate_embed", 5),
        ] {
            assert_eq!(targets.layer(name).as_deref(), Some(layers[layer].as_str()), "{name}");
        }
        for name in ["text_encoder.layers.0.q_proj", "transformer_blocks.1.attn1.to_q", "lora_te_text_model", ""] {
            assert_eq!(targets.layer(name), None, "{name}");
        }
    }
}
