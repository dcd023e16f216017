#!/usr/bin/env python3
"""Convert a model set of single files to the folder layout of diffusers, through the diffusers classes (strict loading).

    ~/.diffusers/bin/python scripts/make_diffusers_model.py SET FOLDER [--names FILE]

See list_diffusers_tensors.py for the environment. The transformer and both autoencoders are renamed by diffusers' own converters.
--names writes what tests need to do the same conversion: the configuration of each folder, and the single file's name of each
FOLDER/NAME. Commands for the committed files, for BASE in ltx-2-19b and ltx-2.3-22b:

    ltx2 demo-model --synthetic /tmp/single --base BASE
    ~/.diffusers/bin/python scripts/make_diffusers_model.py /tmp/single /tmp/folders \
        --names crates/ltx2-pipeline/tests/fixtures/diffusers/BASE.json
"""
import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKLLTX2Audio, AutoencoderKLLTX2Video, LTX2VideoTransformer3DModel
from diffusers.loaders.single_file_utils import (
    convert_ltx2_audio_vae_to_diffusers, convert_ltx2_transformer_to_diffusers, convert_ltx2_vae_to_diffusers)
from diffusers.pipelines.ltx2 import LTX2LatentUpsamplerModel, LTX2TextConnectors, LTX2Vocoder, LTX2VocoderWithBWE
from diffusers.utils import logging
from safetensors import safe_open

CONNECTORS = {"text_embedding_projection.aggregate_embed": "text_proj_in",
              "text_embedding_projection.video_aggregate_embed": "video_text_proj_in",
              "text_embedding_projection.audio_aggregate_embed": "audio_text_proj_in",
              "model.diffusion_model.video_embeddings_connector": "video_connector",
              "model.diffusion_model.audio_embeddings_connector": "audio_connector",
              "transformer_1d_blocks": "transformer_blocks", "q_norm": "norm_q", "k_norm": "norm_k"}
VOCODER = {"conv_pre": "conv_in", "conv_post": "conv_out", "act_post": "act_out", "downsample.lowpass": "downsample",
           "resblocks": "resnets"}


def read(path: Path) -> tuple:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


def transformer(c: dict) -> tuple:
    frames, height, width = c["positional_embedding_max_pos"]
    gated, modulated = c.get("apply_gated_attention", False), c.get("cross_attention_adaln", False)
    same = ("num_attention_heads", "attention_head_dim", "in_channels", "out_channels", "num_layers", "cross_attention_dim",
            "caption_channels", "norm_eps", "timestep_scale_multiplier", "audio_num_attention_heads", "audio_attention_head_dim",
            "audio_out_channels", "audio_cross_attention_dim", "rope_type")
    return LTX2VideoTransformer3DModel, {key: c[key] for key in same} | {
        "pos_embed_max_pos": frames, "base_height": height, "base_width": width,
        "audio_pos_embed_max_pos": c["audio_positional_embedding_max_pos"][0], "rope_theta": c["positional_embedding_theta"],
        "rope_double_precision": c["frequencies_precision"] == "float64",
        "cross_attn_timestep_scale_multiplier": c["av_ca_timestep_scale_multiplier"],
        "gated_attn": gated, "audio_gated_attn": gated, "cross_attn_mod": modulated, "audio_cross_attn_mod": modulated,
        "perturbed_attn": gated, "use_prompt_embeddings": not c.get("caption_proj_before_connector", False)}


def connectors(c: dict, layers: int) -> tuple:
    registers, gated = c["connector_num_learnable_registers"], c.get("connector_apply_gated_attention", False)
    split = c.get("caption_proj_before_connector", False)
    config = {"caption_channels": c["caption_channels"], "text_proj_in_factor": layers, "rope_type": c["rope_type"],
              "rope_double_precision": c["frequencies_precision"] == "float64", "per_modality_projections": split, "proj_bias": split,
              "connector_rope_base_seq_len": c["connector_positional_embedding_max_pos"][0],
              "video_hidden_dim": c["num_attention_heads"] * c["attention_head_dim"],
              "audio_hidden_dim": c["audio_num_attention_heads"] * c["audio_attention_head_dim"]}
    for side, prefix in (("video", ""), ("audio", "audio_")):
        def value(key: str) -> int:
            return c.get(f"{prefix}connector_{key}", c[f"connector_{key}"])
        config |= {f"{side}_connector_num_attention_heads": value("num_attention_heads"),
                   f"{side}_connector_attention_head_dim": value("attention_head_dim"), f"{side}_connector_num_layers": value("num_layers"),
                   f"{side}_connector_num_learnable_registers": registers, f"{side}_gated_attn": gated}
    return LTX2TextConnectors, config


KINDS = {"space": "spatial", "time": "temporal", "all": "spatiotemporal"}


def vae(c: dict) -> tuple:
    def changes(key: str) -> list:
        return [(KINDS[name.split("_")[1]], p.get("multiplier", 1), p.get("residual", False)) for name, p in c[key] if name != "res_x"]

    def layers(key: str) -> list:
        return [p["num_layers"] for name, p in c[key] if name == "res_x"]

    down, up = changes("encoder_blocks"), changes("decoder_blocks")
    widths, decoder_widths = [c["latent_channels"]], [c["decoder_base_channels"] * 8]
    for _, factor, _ in down:
        widths.append(widths[-1] * factor)
    for _, factor, _ in reversed(up[1:]):
        decoder_widths.insert(0, decoder_widths[0] // factor)
    return AutoencoderKLLTX2Video, {
        "block_out_channels": widths[1:], "down_block_types": ["LTX2VideoDownBlock3D"] * len(down), "layers_per_block": layers("encoder_blocks"),
        "spatio_temporal_scaling": [True] * len(down), "downsample_type": [kind for kind, _, _ in down],
        "decoder_block_out_channels": decoder_widths, "decoder_layers_per_block": layers("decoder_blocks"),
        "decoder_spatio_temporal_scaling": [True] * len(up), "decoder_inject_noise": [False] * (len(up) + 1),
        "upsample_type": [kind for kind, _, _ in reversed(up)], "upsample_residual": [residual for _, _, residual in up],
        "upsample_factor": [factor for _, factor, _ in up], "patch_size": c["patch_size"], "latent_channels": c["latent_channels"],
        "decoder_causal": c["causal_decoder"], "encoder_spatial_padding_mode": c.get("spatial_padding_mode", "zeros"),
        "decoder_spatial_padding_mode": c.get("spatial_padding_mode", "reflect"), "spatial_compression_ratio": 32,
        "temporal_compression_ratio": 8}


def audio_vae(c: dict) -> tuple:
    d = c["model"]["params"]["ddconfig"]
    return AutoencoderKLLTX2Audio, {
        "base_channels": d["ch"], "output_channels": d["out_ch"], "ch_mult": d["ch_mult"], "num_res_blocks": d["num_res_blocks"],
        "latent_channels": d["z_channels"], "mel_bins": d["mel_bins"], "norm_type": d["norm_type"], "causality_axis": d["causality_axis"],
        "sample_rate": c["model"]["params"]["sampling_rate"], "mel_hop_length": c["preprocessing"]["stft"]["hop_length"]}


def vocoder(c: dict) -> tuple:
    def generator(c: dict) -> dict:
        return {"hidden_channels": c["upsample_initial_channel"], "upsample_kernel_sizes": c["upsample_kernel_sizes"],
                "upsample_factors": c["upsample_rates"], "resnet_kernel_sizes": c["resblock_kernel_sizes"],
                "resnet_dilations": c["resblock_dilation_sizes"], "final_bias": c["use_bias_at_final"] if "use_bias_at_final" in c else True}

    if "bwe" not in c:
        return LTX2Vocoder, generator(c) | {"output_sampling_rate": c["output_sampling_rate"]}
    b = c["bwe"]
    return LTX2VocoderWithBWE, generator(c["vocoder"]) | {f"bwe_{key}": value for key, value in generator(b).items()} | {
        "filter_length": b["n_fft"], "hop_length": b["hop_length"], "window_length": b["win_size"], "num_mel_channels": b["num_mels"],
        "input_sampling_rate": b["input_sampling_rate"], "output_sampling_rate": b["output_sampling_rate"]}


def upsampler(c: dict) -> tuple:
    same = ("in_channels", "mid_channels", "num_blocks_per_stage", "dims", "spatial_upsample", "temporal_upsample")
    return LTX2LatentUpsamplerModel, {key: c[key] for key in same} | {
        "rational_spatial_scale": c["spatial_scale"], "use_rational_resampler": c["rational_resampler"]}


def by_words(words: dict):
    def rename(names: dict) -> dict:
        renamed = {}
        for name, value in names.items():
            for ours, theirs in words.items():
                name = name.replace(ours, theirs)
            parts = ["upsamplers" if part == "ups" else part for part in name.removeprefix("vocoder.").split(".")]
            renamed[".".join(parts)] = value
        return renamed
    return rename


def vae_names(names: dict) -> dict:
    """Renames blocks; diffusers' converter supports those of LTX-2 only."""
    known = {name: value for name, value in names.items() if not name.startswith(("vae.decoder.up_blocks.7.", "vae.decoder.up_blocks.8."))}
    more = {name.replace("vae.decoder.up_blocks.7.", "decoder.up_blocks.3.upsamplers.0.").replace("vae.decoder.up_blocks.8.", "decoder.up_blocks.3.")
            .replace("res_blocks", "resnets"): value for name, value in names.items() if name not in known}
    return convert_ltx2_vae_to_diffusers(known) | more


def transformer_names(names: dict) -> dict:
    """Renames tensors as in the published folders; the converter does not rename LTX-2.3's `prompt_adaln_single`."""
    words = {"prompt_adaln_single": "prompt_adaln"}
    shortened = {name.replace(*next(iter(words.items()))): value for name, value in names.items()}
    return convert_ltx2_transformer_to_diffusers(shortened)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("set", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--names", type=Path)
    args = parser.parse_args()
    logging.set_verbosity_error()
    tensors, metadata = read(args.set / "ltx.safetensors")
    config = json.loads(metadata["config"])
    layers = json.loads((args.set / "gemma/config.json").read_text())["text_config"]["num_hidden_layers"] + 1
    connector = tuple(name for name in CONNECTORS if "." in name)

    def part(prefix: str, without: tuple = ()) -> dict:
        return {name: name for name in tensors if name.startswith(prefix) and not name.startswith(without)}

    plan = {
        "transformer": (*transformer(config["transformer"]), transformer_names(part("model.diffusion_model.", connector))),
        "connectors": (*connectors(config["transformer"], layers), by_words(CONNECTORS)(part(connector))),
        "vae": (*vae(config["vae"]), vae_names(part("vae."))),
        "audio_vae": (*audio_vae(config["audio_vae"]), convert_ltx2_audio_vae_to_diffusers(part("audio_vae."))),
        "vocoder": (*vocoder(config["vocoder"]), by_words(VOCODER)(part("vocoder."))),
    }
    renamed, configs = {}, {}
    for folder, (kind, arguments, names) in plan.items():
        module = kind(**arguments).to(torch.bfloat16)
        if folder == "audio_vae":  # The class derives their size from a value that is equal in the published model only.
            module.latents_mean, module.latents_std = (tensors[f"audio_vae.per_channel_statistics.{s}-of-means"] for s in ("mean", "std"))
        module.load_state_dict({theirs: tensors[ours] for theirs, ours in names.items()}, strict=True)
        module.save_pretrained(args.folder / folder, max_shard_size="500KB" if folder == "transformer" else "10GB")
        configs[folder] = json.loads((args.folder / folder / "config.json").read_text())
        renamed |= {f"{folder}/{theirs}": ours for theirs, ours in sorted(names.items())}
    upscaler = args.set / "spatial_upscaler.safetensors"
    if upscaler.is_file():
        weights, metadata = read(upscaler)
        kind, arguments = upsampler(json.loads(metadata["config"]))
        module = kind(**arguments).to(torch.bfloat16)
        module.load_state_dict(weights, strict=True)
        module.save_pretrained(args.folder / "latent_upsampler")
        configs["latent_upsampler"] = json.loads((args.folder / "latent_upsampler/config.json").read_text())
    if args.names:
        args.names.write_text(json.dumps({"configs": configs, "names": renamed}, indent=0) + "\n")
    for source, folder in (("model.safetensors", "text_encoder"), ("config.json", "text_encoder"), ("tokenizer.json", "tokenizer")):
        (args.folder / folder).mkdir(exist_ok=True)
        shutil.copy(args.set / "gemma" / source, args.folder / folder / source)
    (args.folder / "model_index.json").write_text(json.dumps({"_class_name": "LTX2Pipeline"} | {
        name: ["diffusers", kind.__name__] for name, (kind, _, _) in plan.items()}, indent=1))


if __name__ == "__main__":
    main()
