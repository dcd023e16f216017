//! Checkpoint names that differ between the two streams.

use crate::AudioVideo;

/// Names of the weights of one stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct StreamNames {
    /// Prefix of layers that both streams have.
    pub prefix: &'static str,
    /// Attention of this stream to the other one.
    pub cross_attention: &'static str,
    /// Per-block table of the audio-video cross-attention.
    pub cross_table: &'static str,
    /// AdaLN of scale and shift of the audio-video cross-attention.
    pub cross_scale_shift: &'static str,
    /// AdaLN of the gate of the attention of this stream to the other one.
    pub cross_gate: &'static str,
}

/// Names of both streams.
pub(super) const STREAM_NAMES: AudioVideo<StreamNames> = AudioVideo {
    video: StreamNames {
        prefix: "",
        cross_attention: "audio_to_video_attn",
        cross_table: "scale_shift_table_a2v_ca_video",
        cross_scale_shift: "av_ca_video_scale_shift_adaln_single",
        cross_gate: "av_ca_a2v_gate_adaln_single",
    },
    audio: StreamNames {
        prefix: "audio_",
        cross_attention: "video_to_audio_attn",
        cross_table: "scale_shift_table_a2v_ca_audio",
        cross_scale_shift: "av_ca_audio_scale_shift_adaln_single",
        cross_gate: "av_ca_v2a_gate_adaln_single",
    },
};
