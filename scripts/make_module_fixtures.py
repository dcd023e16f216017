#!/usr/bin/env python3
"""Recreate crates/ltx2-models/tests/fixtures/modules.safetensors with the official vocoders, audio decoder, upsamplers and tiled
video encoder.

    ~/.ref/bin/python scripts/make_module_fixtures.py [OUT.safetensors] [--shift N]

Each case builds one official module in float32 with synthetic weights and runs it on random inputs. OUT has CASE.N.in and
CASE.N.out for input N of a case, and in its metadata, under `cases`, the kind, configuration and seed of each case, from which
the weights can be recreated. The vocoder's filters are not synthetic and are stored as CASE.upsample.filter and
CASE.lowpass.filter; those of `bwe` are the published ones, those of `bwe-rates` are asymmetric and differ from each other, so
that swapped or mirrored filters are detected. --shift adds N to all seeds and lengths, for comparisons beyond the committed one.
The tiled encoder's inputs are stored at a sixteenth of their height and width, and enlarged pixel by pixel.
"""
import argparse
import copy
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "reference"))
import make_checkpoint  # noqa: E402
import synth  # noqa: E402

FIXTURES = HERE.parent / "crates" / "ltx2-models" / "tests" / "fixtures"


def published(section: str, base: str) -> dict:
    return json.loads((HERE.parent / "models" / "architectures" / f"{base}.json").read_text())["config"][section]


def changed(config: dict, changes: dict) -> dict:
    config = copy.deepcopy(config)
    for key, value in changes.items():
        config[key] = changed(config[key], value) if isinstance(value, dict) else value
    return config


LTX_2 = published("vocoder", "ltx-2-19b")
LTX_2_3 = published("vocoder", "ltx-2.3-22b")
# Other rates: the first vocoder's number of samples is not a multiple of the second one's hop, and the windows overlap less.
OTHER_RATES = {
    "vocoder": {"upsample_rates": [5, 4, 2], "upsample_kernel_sizes": [11, 8, 5], "upsample_initial_channel": 24,
                "resblock_kernel_sizes": [3, 5], "resblock_dilation_sizes": [[1, 3, 5], [2, 1, 4]],
                "use_tanh_at_final": True, "use_bias_at_final": True},
    "bwe": {"upsample_rates": [6, 4, 4], "upsample_kernel_sizes": [12, 8, 6], "upsample_initial_channel": 40,
            "resblock_kernel_sizes": [7], "resblock_dilation_sizes": [[1, 2, 3]], "use_bias_at_final": True,
            "win_size": 96, "n_fft": 96, "hop_length": 48, "output_sampling_rate": 32000},
}
AUDIO_VAE = changed(published("audio_vae", "ltx-2.3-22b"),
                    {"model": {"params": {"ddconfig": {"ch": 8, "num_res_blocks": 1}}}})
VIDEO_VAE = {**published("vae", "ltx-2.3-22b"), "encoder_blocks": [
    ["compress_space_res", {"multiplier": 1}], ["compress_time_res", {"multiplier": 1}],
    ["compress_all_res", {"multiplier": 1}], ["compress_all_res", {"multiplier": 1}]]}
SMALL = {"in_channels": 8, "mid_channels": 32, "num_blocks_per_stage": 1, "dims": 3}
RATIONAL = {**SMALL, "spatial_upsample": True, "temporal_upsample": False, "rational_resampler": True}
LATENTS = [(3, 4, 5), (2, 5, 2), (1, 3, 3)]

# case: kind, configuration, and lengths (mel frames, latent frames) or latent shapes (t, h, w)
CASES = {
    "vocoder": ("vocoder", changed(LTX_2, {"upsample_initial_channel": 64}), [3, 6]),
    "vocoder-clamp": ("vocoder", changed(LTX_2, {
        "upsample_initial_channel": 40, "upsample_rates": [3, 2], "upsample_kernel_sizes": [8, 4],
        "resblock_kernel_sizes": [5], "resblock_dilation_sizes": [[1, 2, 3]], "use_tanh_at_final": False,
        "use_bias_at_final": False, "output_sampling_rate": 600}), [1, 8]),
    "bwe": ("vocoder", changed(LTX_2_3, {"vocoder": {"upsample_initial_channel": 128},
                                         "bwe": {"upsample_initial_channel": 64}}), [1, 4, 7]),
    "bwe-rates": ("vocoder", changed(LTX_2_3, OTHER_RATES), [1, 5, 6]),
    "audio-vae": ("audio_vae", AUDIO_VAE, [1, 4]),
    "encoder-tiles": ("tiled_encoder", {"vae": VIDEO_VAE, "frames": [24, 16], "pixels": [96, 64]}, [(25, 8, 4), (17, 4, 8)]),
    "encoder-strips": ("tiled_encoder", {"vae": VIDEO_VAE, "frames": [24, 16], "pixels": None}, [(33, 4, 4)]),
    "encoder-squares": ("tiled_encoder", {"vae": VIDEO_VAE, "frames": None, "pixels": [96, 64]}, [(9, 8, 10)]),
    "upsampler-x2": ("upsampler", {**SMALL, "spatial_upsample": True, "temporal_upsample": False}, LATENTS),
    "upsampler-x0.75": ("upsampler", {**RATIONAL, "spatial_scale": 0.75}, LATENTS),
    "upsampler-x1.5": ("upsampler", {**RATIONAL, "spatial_scale": 1.5}, LATENTS),
    "upsampler-x2-rational": ("upsampler", {**RATIONAL, "spatial_scale": 2.0}, LATENTS),
    "upsampler-x4": ("upsampler", {**RATIONAL, "spatial_scale": 4}, LATENTS[1:]),
    "upsampler-time": ("upsampler", {**SMALL, "spatial_upsample": False, "temporal_upsample": True,
                                     "num_blocks_per_stage": 2}, LATENTS),
    "upsampler-both": ("upsampler", {**SMALL, "spatial_upsample": True, "temporal_upsample": True}, LATENTS),
}


def build(kind: str, config: dict):
    """Return the official module, and a function from its tensor names to those of a checkpoint."""
    from ltx_core.model.audio_vae import AudioDecoderConfigurator, VocoderConfigurator, audio_vae, ops
    from ltx_core.model.upsampler import LatentUpsamplerConfigurator

    # The statistics have 8 channels x 16 bins, which ltx-core derives from `ch` because the published models have ch = 128.
    audio_vae.PerChannelStatistics = lambda latent_channels: ops.PerChannelStatistics(latent_channels=128)
    if kind == "vocoder":
        return make_checkpoint.build(VocoderConfigurator, {"vocoder": config}), lambda key: f"vocoder.{key}"
    if kind == "audio_vae":
        return (make_checkpoint.build(AudioDecoderConfigurator, {"audio_vae": config}),
                lambda key: f"audio_vae.{key}" if key.startswith("per_channel") else f"audio_vae.decoder.{key}")
    if kind == "tiled_encoder":
        return tiled_encoder(config), lambda key: f"vae.{key}" if key.startswith("per_channel") else f"vae.encoder.{key}"
    return make_checkpoint.build(LatentUpsamplerConfigurator, config), lambda key: key


def tiled_encoder(config: dict):
    from ltx_core.model.video_vae import VideoEncoderConfigurator
    from ltx_core.tiling import DimensionSizeConfig, TileSizeConfig

    encoder = make_checkpoint.build(VideoEncoderConfigurator, {"vae": config["vae"]})
    frames, pixels = (DimensionSizeConfig(*(config[key] or ())) for key in ("frames", "pixels"))
    tiles = TileSizeConfig(frames=frames, height=pixels, width=pixels)
    encode, encode_tiled = encoder.forward, encoder.tiled_encode

    def forward(x):
        encoder.forward = encode
        large = x.repeat_interleave(16, 3).repeat_interleave(16, 4)
        out = encode_tiled(large, tiles)
        encoder.forward = forward
        return out

    encoder.forward = forward
    return encoder


def filters(name: str, weights: dict, state: dict, seed: int) -> dict:
    """Replace the filters among the weights, and return them for the fixture."""
    kept = {}
    for key in (key for key in weights if key.endswith(".filter")):
        suffix = ".".join(key.split(".")[-2:])
        lopsided = 0.05 * torch.from_numpy(synth.synth(suffix, (1, 1, 12), seed)) if name == "bwe-rates" else 0
        weights[key] = kept[f"{name}.{suffix}"] = (state[key] + lopsided).bfloat16().float()
    return {key: value.clone() for key, value in kept.items()}


def input_shape(kind: str, config: dict, size, shift: int) -> tuple:
    if kind == "vocoder":
        return (1, 2, size + shift, 64)
    if kind == "audio_vae":
        return (1, 8, size + shift, 16)
    if kind == "tiled_encoder":
        return (1, 3, *(side + unit * shift for side, unit in zip(size, (8, 2, 2))))
    return (1, config["in_channels"], *(side + shift for side in size))


def run(name: str, case: tuple, seed: int, shift: int) -> dict:
    kind, config, sizes = case
    module, checkpoint_name = build(kind, config)
    weights = {key: torch.from_numpy(synth.synth(checkpoint_name(key), tuple(value.shape), seed)).bfloat16().float()
               for key, value in module.state_dict().items()}
    kept = filters(name, weights, module.state_dict(), seed)
    module.load_state_dict(weights)
    generator = torch.Generator().manual_seed(seed)
    for i, size in enumerate(sizes):
        x = torch.randn(input_shape(kind, config, size, shift), generator=generator)
        if name == "bwe-rates" and i == 2:
            x *= 100  # loud enough to be clipped
        with torch.inference_mode():
            y = module.eval()(x)
        kept[f"{name}.{i}.in"], kept[f"{name}.{i}.out"] = x, y.clone().contiguous()
        print(f"{name:24} {tuple(x.shape)} -> {tuple(y.shape)}, std {y.std():.4f}, largest {y.abs().max():.3f}")
    return kept


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", nargs="?", type=Path, default=FIXTURES / "modules.safetensors")
    parser.add_argument("--shift", type=int, default=0)
    args = parser.parse_args()
    tensors, cases = {}, {}
    for number, (name, case) in enumerate(CASES.items()):
        seed = number + 1 + args.shift
        tensors.update(run(name, case, seed, args.shift))
        cases[name] = {"kind": case[0], "config": case[1], "seed": seed, "inputs": len(case[2])}
    save_file(tensors, args.out, metadata={"cases": json.dumps(cases)})
    print(f"{args.out}: {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
