//! Tensor names of diffusers, mapped to those of the published single file.

/// Tensor names of a component.
pub(crate) struct ComponentNames {
    /// Folder of the component.
    pub(crate) folder: &'static str,
    /// Prefix in the single file.
    prefix: &'static str,
    /// Path segments that differ: the one of diffusers, then the one of the single file.
    segments: &'static [(&'static str, &'static str)],
}

/// Returns the component in `folder`.
pub(crate) fn component(folder: &str) -> &'static ComponentNames {
    COMPONENTS.iter().find(|names| names.folder == folder).expect("the folder is that of a component")
}

/// The components of a checkpoint.
pub(crate) static COMPONENTS: [ComponentNames; 5] = [
    ComponentNames {
        folder: "transformer",
        prefix: "model.diffusion_model.",
        segments: &[
            ("proj_in", "patchify_proj"),
            ("audio_proj_in", "audio_patchify_proj"),
            ("time_embed", "adaln_single"),
            ("audio_time_embed", "audio_adaln_single"),
            ("prompt_adaln", "prompt_adaln_single"),
            ("audio_prompt_adaln", "audio_prompt_adaln_single"),
            ("av_cross_attn_video_scale_shift", "av_ca_video_scale_shift_adaln_single"),
            ("av_cross_attn_audio_scale_shift", "av_ca_audio_scale_shift_adaln_single"),
            ("av_cross_attn_video_a2v_gate", "av_ca_a2v_gate_adaln_single"),
            ("av_cross_attn_audio_v2a_gate", "av_ca_v2a_gate_adaln_single"),
            ("video_a2v_cross_attn_scale_shift_table", "scale_shift_table_a2v_ca_video"),
            ("audio_a2v_cross_attn_scale_shift_table", "scale_shift_table_a2v_ca_audio"),
            ("norm_q", "q_norm"),
            ("norm_k", "k_norm"),
        ],
    },
    ComponentNames {
        folder: "connectors",
        prefix: "",
        segments: &[
            ("text_proj_in", "text_embedding_projection.aggregate_embed"),
            ("video_text_proj_in", "text_embedding_projection.video_aggregate_embed"),
            ("audio_text_proj_in", "text_embedding_projection.audio_aggregate_embed"),
            ("video_connector", "model.diffusion_model.video_embeddings_connector"),
            ("audio_connector", "model.diffusion_model.audio_embeddings_connector"),
            ("transformer_blocks", "transformer_1d_blocks"),
            ("norm_q", "q_norm"),
            ("norm_k", "k_norm"),
        ],
    },
    ComponentNames {
        folder: "vae",
        prefix: "vae.",
        segments: &[
            ("latents_mean", "per_channel_statistics.mean-of-means"),
            ("latents_std", "per_channel_statistics.std-of-means"),
            ("resnets", "res_blocks"),
        ],
    },
    ComponentNames {
        folder: "audio_vae",
        prefix: "audio_vae.",
        segments: &[
            ("latents_mean", "per_channel_statistics.mean-of-means"),
            ("latents_std", "per_channel_statistics.std-of-means"),
        ],
    },
    ComponentNames {
        folder: "vocoder",
        prefix: "vocoder.",
        segments: &[
            ("conv_in", "conv_pre"),
            ("conv_out", "conv_post"),
            ("act_out", "act_post"),
            ("upsamplers", "ups"),
            ("resnets", "resblocks"),
            ("downsample", "downsample.lowpass"),
        ],
    },
];

impl ComponentNames {
    /// Prefixes of the tensors of this component in the single file.
    pub(crate) fn prefixes(&self) -> Vec<&'static str> {
        if !self.prefix.is_empty() {
            return vec![self.prefix];
        }
        self.segments.iter().map(|(_, single)| *single).filter(|single| single.contains('.')).collect()
    }

    /// Maps a tensor name of the single file to that of diffusers, without the folder; `None` if this component does not
    /// have it. The inverse of [`ComponentNames::rename`] for components without levels.
    pub(crate) fn diffusers_name(&self, name: &str) -> Option<String> {
        let mut name = format!(".{}.", name.strip_prefix(self.prefix)?);
        for (diffusers, single) in self.segments {
            name = name.replace(&format!(".{single}."), &format!(".{diffusers}."));
        }
        Some(name.trim_matches('.').into())
    }

    /// Maps a tensor name to that of the single file. `levels` is the number of downsampling levels of the video encoder.
    pub(crate) fn rename(&self, name: &str, levels: usize) -> String {
        let segments: Vec<&str> = name.split('.').collect();
        let block = if self.folder == "vae" { video_block(&segments, levels) } else { None };
        let (block_prefix, rest) = block.unwrap_or((String::new(), &segments));
        let renamed = |segment: &&str| {
            let known = self.segments.iter().find(|(diffusers, _)| diffusers == segment);
            known.map_or_else(|| segment.to_string(), |(_, single)| single.to_string())
        };
        let rest: Vec<String> = rest.iter().map(renamed).collect();
        format!("{}{block_prefix}{}", self.prefix, rest.join("."))
    }
}

/// Maps the leading segments of a video VAE name to a block prefix of the single file; returns it and the other segments.
///
/// The single file has one flat list of residual runs and resampling blocks, while a level of diffusers has both, and the
/// deepest run is a `mid_block`.
fn video_block<'a>(segments: &'a [&'a str], levels: usize) -> Option<(String, &'a [&'a str])> {
    // Products and sums of a u16 fit a usize. A name with a larger index is left unchanged; no network uses it.
    let index = |text: &str| text.parse::<u16>().ok().map(usize::from);
    match segments {
        ["encoder", "mid_block", rest @ ..] => Some((format!("encoder.down_blocks.{}.", 2 * levels), rest)),
        ["encoder", "down_blocks", level, "downsamplers", "0", rest @ ..] => {
            Some((format!("encoder.down_blocks.{}.", 2 * index(level)? + 1), rest))
        }
        ["encoder", "down_blocks", level, rest @ ..] => {
            Some((format!("encoder.down_blocks.{}.", 2 * index(level)?), rest))
        }
        ["decoder", "mid_block", rest @ ..] => Some(("decoder.up_blocks.0.".into(), rest)),
        ["decoder", "up_blocks", level, "upsamplers", "0", rest @ ..] => {
            Some((format!("decoder.up_blocks.{}.", 2 * index(level)? + 1), rest))
        }
        ["decoder", "up_blocks", level, rest @ ..] => {
            Some((format!("decoder.up_blocks.{}.", 2 * index(level)? + 2), rest))
        }
        _ => None,
    }
}
