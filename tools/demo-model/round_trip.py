"""Measures drawn clips before and after the autoencoders and the vocoder: the limit for the transformer.

python round_trip.py [COUNT]
"""

import random
import sys

import numpy as np
import torch

import architecture
import measure
import train_audio
import train_video_vae
import world


@torch.no_grad()
def audio() -> None:
    encoder, decoder, _ = train_audio.load_vae()
    vocoder = architecture.vocoder()
    vocoder.load_state_dict(torch.load(train_audio.VOCODER_PATH)["voc"])
    for kind in world.ATTRIBUTES["sound"]:
        mel = train_audio.mel_of(torch.from_numpy(world.audio(kind, np.full(25, 0.5), 1.0))[None])
        decoded = decoder(train_audio.encode(encoder, mel))
        for name, spectrogram in (("vocoder", mel), ("audio VAE and vocoder", decoded)):
            samples = vocoder(spectrogram)[0].numpy()
            print(f"{kind}: {name}: {measure.listen(samples, 24000)}, rms {samples.std():.3f}")


@torch.no_grad()
def video(count: int) -> None:
    rng = random.Random(5)
    encoder, decoder = architecture.video_vae()
    saved = torch.load(train_video_vae.PATH)
    encoder.load_state_dict(saved["enc"])
    decoder.load_state_dict(saved["dec"])
    right, errors = {}, []
    for i in range(count):
        scene = world.random_scene(rng) | {"shape": world.ATTRIBUTES["shape"][i % 4]}
        drawn, _ = world.draw([scene], 25, 128, 128, rng)
        with torch.autocast("cpu", torch.bfloat16):
            decoded = decoder(train_video_vae.encode(encoder, drawn)).float()
        errors.append((decoded - drawn).abs().mean().item())
        for name, clip in (("drawn", drawn), ("decoded", decoded)):
            pixels = (clip[0].permute(1, 2, 3, 0).clamp(-1, 1) + 1) * 127.5
            found = measure.look(pixels.round().byte().numpy())
            for key in ("background", "colour", "motion", "shape"):
                right.setdefault(f"{name}: {key}", []).append(found[key] == scene[key])
    print({key: f"{sum(values)}/{len(values)}" for key, values in right.items()}, f"L1 {np.mean(errors):.4f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    audio()
    video(int(sys.argv[1]) if len(sys.argv) > 1 else 24)
