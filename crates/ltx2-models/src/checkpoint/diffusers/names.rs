//! What diffusers calls the tensors, in the words of the published single file.

/// A folder of the layout, and the words that its class has changed; the others are the same.
pub(super) struct Component {
    /// Its name.
    pub folder: &'static str,
    /// What stands before its names in the single file.
    prefix: &'static str,
    /// Parts of a name: diffusers', then the single file's.
    words: &'static [(&'static str, &'static str)],
}

/// The folders that make up a checkpoint.
pub(super) const COMPONENTS: [Component; 5] = [
    Component {
        folder: "transformer",
        prefix: "model.diffusion_model.",
        words: &[
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
    Component {
        folder: "connectors",
        prefix: "",
        words: &[
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
    Component {
        folder: "vae",
        prefix: "vae.",
        words: &[
            ("latents_mean", "per_channel_statistics.mean-of-means"),
            ("latents_std", "per_channel_statistics.std-of-means"),
            ("resnets", "res_blocks"),
        ],
    },
    Component {
        folder: "audio_vae",
        prefix: "audio_vae.",
        words: &[
            ("latents_mean", "per_channel_statistics.mean-of-means"),
            ("latents_std", "per_channel_statistics.std-of-means"),
        ],
    },
    Component {
        folder: "vocoder",
        prefix: "vocoder.",
        words: &[
            ("conv_in", "conv_pre"),
            ("conv_out", "conv_post"),
            ("act_out", "act_post"),
            ("upsamplers", "ups"),
            ("resnets", "resblocks"),
            ("downsample", "downsample.lowpass"),
        ],
    },
];

impl Component {
    /// How the single file's names of its tensors begin.
    pub(super) fn homes(&self) -> Vec<&'static str> {
        if !self.prefix.is_empty() {
            return vec![self.prefix];
        }
        self.words.iter().map(|(_, ours)| *ours).filter(|ours| ours.contains('.')).collect()
    }

    /// The single file's name of `name`; `levels` is how often the video encoder shrinks.
    pub(super) fn rename(&self, name: &str, levels: usize) -> String {
        let parts: Vec<&str> = name.split('.').collect();
        let numbered = if self.folder == "vae" { video_blocks(&parts, levels) } else { None };
        let (start, rest) = numbered.unwrap_or((String::new(), &parts));
        let word = |part: &&str| {
            let known = self.words.iter().find(|(theirs, _)| theirs == part);
            known.map_or_else(|| part.to_string(), |(_, ours)| ours.to_string())
        };
        let rest: Vec<String> = rest.iter().map(word).collect();
        format!("{}{start}{}", self.prefix, rest.join("."))
    }
}

/// The beginning of a name in the video autoencoder, and what is left of it. The single file counts runs of residual blocks
/// and changes of size in one list, where diffusers has a level with both, and the deepest run apart.
fn video_blocks<'a>(parts: &'a [&'a str], levels: usize) -> Option<(String, &'a [&'a str])> {
    // Small enough to be counted on from; other names are nobody's.
    let number = |text: &str| text.parse::<u16>().ok().map(usize::from);
    match parts {
        ["encoder", "mid_block", rest @ ..] => Some((format!("encoder.down_blocks.{}.", 2 * levels), rest)),
        ["encoder", "down_blocks", level, "downsamplers", "0", rest @ ..] => {
            Some((format!("encoder.down_blocks.{}.", 2 * number(level)? + 1), rest))
        }
        ["encoder", "down_blocks", level, rest @ ..] => {
            Some((format!("encoder.down_blocks.{}.", 2 * number(level)?), rest))
        }
        ["decoder", "mid_block", rest @ ..] => Some(("decoder.up_blocks.0.".into(), rest)),
        ["decoder", "up_blocks", level, "upsamplers", "0", rest @ ..] => {
            Some((format!("decoder.up_blocks.{}.", 2 * number(level)? + 1), rest))
        }
        ["decoder", "up_blocks", level, rest @ ..] => {
            Some((format!("decoder.up_blocks.{}.", 2 * number(level)? + 2), rest))
        }
        _ => None,
    }
}
