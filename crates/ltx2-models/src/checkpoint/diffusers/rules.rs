//! Rules for the configuration keys of the diffusers classes.

/// Meaning of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyRule {
    /// Equal to the key at this dotted path of the single file.
    Is(&'static str),
    /// Only the default of the class is supported.
    Default,
    /// Combined with other keys by `config.rs` or `vae_config.rs`.
    Joint,
    /// No effect on the result.
    Unused,
}

use KeyRule::{Default, Is, Joint, Unused};

/// Rules of a class by key.
pub(super) type KeyRules = &'static [(&'static str, KeyRule)];

/// `LTX2VideoTransformer3DModel`.
pub(super) const TRANSFORMER: KeyRules = &[
    ("in_channels", Is("in_channels")),
    ("out_channels", Is("out_channels")),
    ("patch_size", Default),
    ("patch_size_t", Default),
    ("num_attention_heads", Is("num_attention_heads")),
    ("attention_head_dim", Is("attention_head_dim")),
    ("cross_attention_dim", Is("cross_attention_dim")),
    ("vae_scale_factors", Default),
    ("pos_embed_max_pos", Joint),
    ("base_height", Joint),
    ("base_width", Joint),
    ("gated_attn", Is("apply_gated_attention")),
    ("cross_attn_mod", Is("cross_attention_adaln")),
    ("audio_in_channels", Is("audio_in_channels")),
    ("audio_out_channels", Is("audio_out_channels")),
    ("audio_patch_size", Default),
    ("audio_patch_size_t", Default),
    ("audio_num_attention_heads", Is("audio_num_attention_heads")),
    ("audio_attention_head_dim", Is("audio_attention_head_dim")),
    ("audio_cross_attention_dim", Is("audio_cross_attention_dim")),
    ("audio_scale_factor", Default),
    ("audio_pos_embed_max_pos", Joint),
    ("audio_sampling_rate", Joint),
    ("audio_hop_length", Joint),
    ("audio_gated_attn", Joint),
    ("audio_cross_attn_mod", Joint),
    ("num_layers", Is("num_layers")),
    ("activation_fn", Is("activation_fn")),
    ("qk_norm", Default),
    ("norm_elementwise_affine", Is("norm_elementwise_affine")),
    ("norm_eps", Is("norm_eps")),
    ("caption_channels", Is("caption_channels")),
    ("attention_bias", Is("attention_bias")),
    ("attention_out_bias", Default),
    ("rope_theta", Is("positional_embedding_theta")),
    ("rope_double_precision", Joint),
    ("causal_offset", Default),
    ("timestep_scale_multiplier", Is("timestep_scale_multiplier")),
    ("cross_attn_timestep_scale_multiplier", Is("av_ca_timestep_scale_multiplier")),
    ("rope_type", Is("rope_type")),
    ("use_prompt_embeddings", Joint),
    ("perturbed_attn", Unused),
    ("ff_bias", Default),
    ("audio_ff_bias", Default),
    ("use_prompt_adaln_single", Default),
    ("use_keyframes_abs_pos_embedding", Default),
];

/// `LTX2TextConnectors`. In the single file these keys belong to the transformer.
pub(super) const CONNECTORS: KeyRules = &[
    ("caption_channels", Joint),
    ("text_proj_in_factor", Unused),
    ("video_connector_num_attention_heads", Is("connector_num_attention_heads")),
    ("video_connector_attention_head_dim", Is("connector_attention_head_dim")),
    ("video_connector_num_layers", Is("connector_num_layers")),
    ("video_connector_num_learnable_registers", Is("connector_num_learnable_registers")),
    ("video_gated_attn", Is("connector_apply_gated_attention")),
    ("audio_connector_num_attention_heads", Is("audio_connector_num_attention_heads")),
    ("audio_connector_attention_head_dim", Is("audio_connector_attention_head_dim")),
    ("audio_connector_num_layers", Is("audio_connector_num_layers")),
    ("audio_connector_num_learnable_registers", Joint),
    ("audio_gated_attn", Joint),
    ("connector_rope_base_seq_len", Joint),
    ("rope_theta", Default),
    ("rope_double_precision", Joint),
    ("causal_temporal_positioning", Unused),
    ("rope_type", Joint),
    ("per_modality_projections", Joint),
    ("video_hidden_dim", Joint),
    ("audio_hidden_dim", Joint),
    ("proj_bias", Joint),
];

/// `AutoencoderKLLTX2Video`.
pub(super) const VAE: KeyRules = &[
    ("in_channels", Is("in_channels")),
    ("out_channels", Is("out_channels")),
    ("latent_channels", Is("latent_channels")),
    ("block_out_channels", Joint),
    ("down_block_types", Unused),
    ("decoder_block_out_channels", Joint),
    ("layers_per_block", Joint),
    ("decoder_layers_per_block", Joint),
    ("spatio_temporal_scaling", Joint),
    ("decoder_spatio_temporal_scaling", Joint),
    ("decoder_inject_noise", Joint),
    ("downsample_type", Joint),
    ("upsample_type", Joint),
    ("upsample_residual", Joint),
    ("upsample_factor", Joint),
    ("timestep_conditioning", Is("timestep_conditioning")),
    ("patch_size", Is("patch_size")),
    ("patch_size_t", Default),
    ("resnet_norm_eps", Unused),
    ("scaling_factor", Default),
    ("encoder_causal", Default),
    ("decoder_causal", Is("causal_decoder")),
    ("encoder_spatial_padding_mode", Joint),
    ("decoder_spatial_padding_mode", Joint),
    ("spatial_compression_ratio", Unused),
    ("temporal_compression_ratio", Unused),
];

/// `AutoencoderKLLTX2Audio`.
pub(super) const AUDIO_VAE: KeyRules = &[
    ("base_channels", Is("model.params.ddconfig.ch")),
    ("output_channels", Is("model.params.ddconfig.out_ch")),
    ("ch_mult", Is("model.params.ddconfig.ch_mult")),
    ("num_res_blocks", Is("model.params.ddconfig.num_res_blocks")),
    ("attn_resolutions", Joint),
    ("in_channels", Is("model.params.ddconfig.in_channels")),
    ("resolution", Is("model.params.ddconfig.resolution")),
    ("latent_channels", Is("model.params.ddconfig.z_channels")),
    ("norm_type", Is("model.params.ddconfig.norm_type")),
    ("causality_axis", Is("model.params.ddconfig.causality_axis")),
    ("dropout", Is("model.params.ddconfig.dropout")),
    ("mid_block_add_attention", Is("model.params.ddconfig.mid_block_add_attention")),
    ("sample_rate", Is("model.params.sampling_rate")),
    ("mel_hop_length", Is("preprocessing.stft.hop_length")),
    ("is_causal", Is("preprocessing.stft.causal")),
    ("mel_bins", Is("model.params.ddconfig.mel_bins")),
    ("double_z", Is("model.params.ddconfig.double_z")),
];

/// `LTX2Vocoder`, and the first generator of `LTX2VocoderWithBWE`.
pub(super) const VOCODER: KeyRules = &[
    ("in_channels", Default),
    ("hidden_channels", Is("upsample_initial_channel")),
    ("out_channels", Default),
    ("upsample_kernel_sizes", Is("upsample_kernel_sizes")),
    ("upsample_factors", Is("upsample_rates")),
    ("resnet_kernel_sizes", Is("resblock_kernel_sizes")),
    ("resnet_dilations", Is("resblock_dilation_sizes")),
    ("act_fn", Default),
    ("leaky_relu_negative_slope", Default),
    ("antialias", Default),
    ("antialias_ratio", Default),
    ("antialias_kernel_size", Default),
    ("final_act_fn", Joint),
    ("final_bias", Is("use_bias_at_final")),
];

/// The second generator of `LTX2VocoderWithBWE`. Its keys have no `bwe_` prefix.
pub(super) const BANDWIDTH_EXTENSION: KeyRules = &[
    ("filter_length", Is("n_fft")),
    ("hop_length", Is("hop_length")),
    ("window_length", Is("win_size")),
    ("num_mel_channels", Is("num_mels")),
    ("input_sampling_rate", Is("input_sampling_rate")),
    ("output_sampling_rate", Is("output_sampling_rate")),
];

/// `LTX2LatentUpsamplerModel`.
pub(super) const LATENT_UPSAMPLER: KeyRules = &[
    ("in_channels", Is("in_channels")),
    ("mid_channels", Is("mid_channels")),
    ("num_blocks_per_stage", Is("num_blocks_per_stage")),
    ("dims", Is("dims")),
    ("spatial_upsample", Is("spatial_upsample")),
    ("temporal_upsample", Is("temporal_upsample")),
    ("rational_spatial_scale", Is("spatial_scale")),
    ("use_rational_resampler", Is("rational_resampler")),
];
