#!/usr/bin/env python3
"""Recreate crates/ltx2-models/tests/fixtures/audio_encoder.safetensors with the official resampler, log-mel spectrogram and audio
encoder.

    ~/.ref/bin/python scripts/make_audio_fixtures.py [OUT.safetensors] [--shift N]

OUT has CASE.in and CASE.out for each case, and in its metadata, under `cases`, the kind, configuration and seed of each case. The
encoder has synthetic weights, which can be recreated from the seed. --shift adds N to all seeds and lengths, for comparisons beyond the
committed one.
"""
import argparse
import copy
import json
import math
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "reference"))
import make_checkpoint  # noqa: E402
import synth  # noqa: E402

OUT = HERE.parent / "crates" / "ltx2-models" / "tests" / "fixtures" / "audio_encoder.safetensors"
AUDIO_VAE = json.loads((HERE.parent / "models" / "architectures" / "ltx-2.3-22b.json").read_text())["config"]["audio_vae"]
SMALL = copy.deepcopy(AUDIO_VAE)
SMALL["model"]["params"]["ddconfig"].update(ch=8, num_res_blocks=1)
DEEP = copy.deepcopy(SMALL)
DEEP["model"]["params"]["ddconfig"].update(num_res_blocks=2, ch_mult=[1, 3, 2])

# case: kind, configuration, number of samples or mel frames
CASES = {
    "resample-44100": ("resample", {"from": 44100, "to": 16000}, 3000),
    "resample-48000": ("resample", {"from": 48000, "to": 16000}, 1001),
    "resample-22050": ("resample", {"from": 22050, "to": 16000}, 5),
    "resample-8000": ("resample", {"from": 8000, "to": 16000}, 777),
    "resample-11025": ("resample", {"from": 11025, "to": 16000}, 1),
    "log-mel-noise": ("log_mel", AUDIO_VAE, 2000),
    "log-mel-tone": ("log_mel_tone", AUDIO_VAE, 1600),
    "log-mel-shortest": ("log_mel", AUDIO_VAE, 513),
    "encoder-1": ("audio_encoder", SMALL, 1),
    "encoder-2": ("audio_encoder", SMALL, 2),
    "encoder-13": ("audio_encoder", SMALL, 13),
    "encoder-deep": ("audio_encoder", DEEP, 17),
}


def encoder(config: dict, seed: int):
    from ltx_core.model.audio_vae import AudioEncoderConfigurator, audio_vae, ops

    # The statistics have 8 channels x 16 bins, which ltx-core derives from `ch` because the published models have ch = 128.
    audio_vae.PerChannelStatistics = lambda latent_channels: ops.PerChannelStatistics(latent_channels=128)
    module = make_checkpoint.build(AudioEncoderConfigurator, {"audio_vae": config})
    weights = {}
    for key, value in module.state_dict().items():
        name = f"audio_vae.{key}" if key.startswith("per_channel") else f"audio_vae.encoder.{key}"
        weights[key] = torch.from_numpy(synth.synth(name, tuple(value.shape), seed)).bfloat16().float()
    module.load_state_dict(weights)
    return module.eval()


def run(kind: str, config: dict, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    import torchaudio
    from ltx_core.model.audio_vae.ops import AudioProcessor
    from ltx_core.types import Audio

    generator = torch.Generator().manual_seed(seed)
    if kind == "resample":
        x = torch.randn((1, 1, size), generator=generator)
        return x, torchaudio.functional.resample(x, config["from"], config["to"])
    if kind == "audio_encoder":
        x = torch.randn((1, 2, size, 64), generator=generator)
        return x, encoder(config, seed)(x)
    processor = AudioProcessor(target_sample_rate=16000, mel_bins=64, mel_hop_length=160, n_fft=1024)
    x = 0.1 * torch.randn((1, 2, size), generator=generator)
    if kind == "log_mel_tone":  # a tone on one side and silence on the other
        x = torch.stack([torch.sin(torch.arange(size) * 440 * 2 * math.pi / 16000), torch.zeros(size)])[None]
    return x, processor.waveform_to_mel(Audio(waveform=x, sampling_rate=16000))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", nargs="?", type=Path, default=OUT)
    parser.add_argument("--shift", type=int, default=0)
    args = parser.parse_args()
    tensors, cases = {}, {}
    for number, (name, (kind, config, size)) in enumerate(CASES.items()):
        seed = number + 1 + args.shift
        with torch.inference_mode():
            x, y = run(kind, config, size + args.shift, seed)
        tensors[f"{name}.in"], tensors[f"{name}.out"] = x.clone().contiguous(), y.clone().contiguous()
        cases[name] = {"kind": kind.removesuffix("_tone"), "config": config, "seed": seed}
        print(f"{name:20} {tuple(x.shape)} -> {tuple(y.shape)}, std {y.std():.4f}")
    save_file(tensors, args.out, metadata={"cases": json.dumps(cases)})
    print(f"{args.out}: {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
