//! Tensor names of checkpoint files: the networks by their prefixes, and the prefixes that published files add or omit.

use serde::Serialize;

use crate::weight_files::TensorShapes;

/// Prefix of the transformer and the connectors in a checkpoint.
pub(super) const TRANSFORMER_PREFIX: &str = "model.diffusion_model.";
/// Prefix of the projections from hidden states to features.
const TEXT_PROJECTION_PREFIX: &str = "text_embedding_projection.";
/// Segment that `torch.compile` adds to names.
const COMPILED: &str = "_orig_mod.";
/// Prefixes that files add to the names of a transformer, in any combination.
const WRAPPERS: [&str; 5] = ["diffusion_model.", "transformer.", "module.", "model.", "base_model."];
/// Prefixes of the networks other than the transformer and the connectors.
const OTHER_PREFIXES: [&str; 4] = [TEXT_PROJECTION_PREFIX, "vae.", "audio_vae.", "vocoder."];
/// Beginnings of names by which a file with a transformer, connectors or text projection is recognised.
const MARKERS: [&str; 4] = [
    "transformer_blocks.0.audio_to_video_attn.",
    "video_embeddings_connector.",
    "audio_embeddings_connector.",
    TEXT_PROJECTION_PREFIX,
];

/// A network of a checkpoint, or a group of networks that files hold together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// The audio-video diffusion transformer.
    Transformer,
    /// The connectors of both modalities.
    Connectors,
    /// The projections from the text encoder's hidden states to features.
    TextProjection,
    /// The video VAE.
    VideoVae,
    /// The audio VAE.
    AudioVae,
    /// The vocoder.
    Vocoder,
}

impl Component {
    /// All components, which a complete checkpoint has.
    pub const ALL: [Self; 6] =
        [Self::Transformer, Self::Connectors, Self::TextProjection, Self::VideoVae, Self::AudioVae, Self::Vocoder];

    /// Returns the name for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transformer => "transformer",
            Self::Connectors => "connectors",
            Self::TextProjection => "text projection",
            Self::VideoVae => "video VAE",
            Self::AudioVae => "audio VAE",
            Self::Vocoder => "vocoder",
        }
    }

    /// Returns the section of the configuration that describes the component.
    pub(super) fn section(self) -> &'static str {
        match self {
            Self::Transformer | Self::Connectors | Self::TextProjection => "transformer",
            Self::VideoVae => "vae",
            Self::AudioVae => "audio_vae",
            Self::Vocoder => "vocoder",
        }
    }

    /// Returns the prefixes of the component's tensors in a checkpoint; the longest prefix of a name decides.
    pub(super) fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Transformer => &[TRANSFORMER_PREFIX],
            Self::Connectors => &[
                "model.diffusion_model.video_embeddings_connector.",
                "model.diffusion_model.audio_embeddings_connector.",
            ],
            Self::TextProjection => &[TEXT_PROJECTION_PREFIX],
            Self::VideoVae => &["vae."],
            Self::AudioVae => &["audio_vae."],
            Self::Vocoder => &["vocoder."],
        }
    }

    /// Returns the component of the tensor `name` of a checkpoint.
    pub(super) fn of(name: &str) -> Option<Self> {
        let matching = Self::ALL.into_iter().filter_map(|component| {
            let prefixes = component.prefixes().iter().filter(|prefix| name.starts_with(**prefix));
            Some((prefixes.map(|prefix| prefix.len()).max()?, component))
        });
        matching.max().map(|(_, component)| component)
    }
}

/// Mapping from the tensor names of a file to those of the published checkpoint.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct NameMap {
    /// Prefix of the names of the transformer, connectors and text projection; `None` if the file has none of them.
    wrapper: Option<String>,
    /// Prefix that the names of a VAE, a vocoder or a text projection lack.
    omitted: Option<&'static str>,
}

impl NameMap {
    /// Determines the mapping for a file with the tensors `shapes`.
    pub(super) fn of(shapes: &TensorShapes) -> Self {
        let names: Vec<(String, &Vec<usize>)> =
            shapes.iter().map(|(name, shape)| (name.replace(COMPILED, ""), shape)).collect();
        let wrapper = names.iter().find_map(|(name, _)| {
            let (before, _) = MARKERS.iter().find_map(|marker| name.split_once(marker))?;
            is_wrapper(before).then(|| before.to_string())
        });
        let starts = |start: &str| names.iter().any(|(name, _)| name.starts_with(start));
        let rank = |name: &str| names.iter().find(|(found, _)| found == name).map(|(_, shape)| shape.len());
        let omitted = match rank("decoder.conv_in.conv.weight") {
            _ if wrapper.is_some() => None,
            Some(5) => Some("vae."),
            Some(4) => Some("audio_vae."),
            _ if starts("bwe_generator.") || starts("conv_pre.") => Some("vocoder."),
            _ if ["", "video_", "audio_"].iter().any(|kind| starts(&format!("{kind}aggregate_embed."))) => {
                Some(TEXT_PROJECTION_PREFIX)
            }
            _ => None,
        };
        Self { wrapper, omitted }
    }

    /// Returns the name of the published checkpoint for the name of a tensor in the file.
    pub(super) fn canonical(&self, name: &str) -> String {
        let name = name.replace(COMPILED, "");
        let is_other = |name: &str| OTHER_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        if let Some(wrapper) = &self.wrapper {
            let inner = name.strip_prefix(wrapper.as_str());
            return match inner {
                Some(inner) if is_other(inner) => inner.into(),
                Some(inner) => format!("{TRANSFORMER_PREFIX}{inner}"),
                None => name,
            };
        }
        match self.omitted {
            // Names below the omitted prefix may begin with `vocoder.` themselves.
            Some("vocoder.") => format!("vocoder.{name}"),
            Some(omitted) if !is_other(&name) => format!("{omitted}{name}"),
            _ => name,
        }
    }
}

/// Whether `prefix` consists of known prefixes only.
fn is_wrapper(prefix: &str) -> bool {
    let mut rest = prefix;
    while let Some(inner) = WRAPPERS.iter().find_map(|wrapper| rest.strip_prefix(wrapper)) {
        rest = inner;
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(names: &[(&str, usize)]) -> Vec<String> {
        let shapes: TensorShapes = names.iter().map(|(name, rank)| (name.to_string(), vec![1; *rank])).collect();
        let map = NameMap::of(&shapes);
        names.iter().map(|(name, _)| map.canonical(name)).collect()
    }

    #[test]
    fn every_published_prefix_of_a_transformer_is_understood() {
        const BLOCK: &str = "transformer_blocks.0.audio_to_video_attn.to_q.weight";
        for prefix in ["", "model.diffusion_model.", "diffusion_model.", "model.", "transformer.", "_orig_mod."] {
            let names = [BLOCK, "patchify_proj.weight", "transformer_blocks.0.attn1._orig_mod.to_q.weight"]
                .map(|name| format!("{prefix}{name}"));
            let found = canonical(&names.each_ref().map(|name| (name.as_str(), 2)));
            assert_eq!(found[0], format!("model.diffusion_model.{BLOCK}"), "{prefix}");
            assert_eq!(found[1], "model.diffusion_model.patchify_proj.weight");
            assert_eq!(found[2], "model.diffusion_model.transformer_blocks.0.attn1.to_q.weight");
        }
        let with_vae = canonical(&[(BLOCK, 2), ("vae.decoder.conv_in.conv.weight", 5)]);
        assert_eq!(with_vae[1], "vae.decoder.conv_in.conv.weight");
    }

    #[test]
    fn parts_without_a_prefix_are_recognised() {
        for (names, expected) in [
            (&[("decoder.conv_in.conv.weight", 5)][..], "vae.decoder.conv_in.conv.weight"),
            (&[("decoder.conv_in.conv.weight", 4)], "audio_vae.decoder.conv_in.conv.weight"),
            (&[("decoder.conv_in.conv.weight", 4), ("vocoder.conv_pre.weight", 3)], "vocoder.conv_pre.weight"),
            (&[("bwe_generator.x", 1), ("vocoder.conv_pre.weight", 3)], "vocoder.vocoder.conv_pre.weight"),
            (&[("vocoder.vocoder.conv_pre.weight", 3)], "vocoder.vocoder.conv_pre.weight"),
            (&[("video_aggregate_embed.weight", 2)], "text_embedding_projection.video_aggregate_embed.weight"),
            (&[("audio_embeddings_connector.x", 1)], "model.diffusion_model.audio_embeddings_connector.x"),
            (
                &[("model.diffusion_model.text_embedding_projection.aggregate_embed.weight", 2)],
                "text_embedding_projection.aggregate_embed.weight",
            ),
            (&[("model.layers.0.self_attn.q_norm.weight", 1)], "model.layers.0.self_attn.q_norm.weight"),
        ] {
            assert_eq!(canonical(names).last().unwrap(), expected);
        }
        assert_eq!(Component::of("model.diffusion_model.video_embeddings_connector.x"), Some(Component::Connectors));
        assert_eq!(Component::of("model.diffusion_model.proj_out.bias"), Some(Component::Transformer));
        assert_eq!(Component::of("upsampler.conv.weight"), None);
    }
}
