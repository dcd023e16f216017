"""Encodes drawn clips for the training of the transformer:   python encode_clips.py MINUTES SEED

Each shard of latents/ holds one size: video [N, ACTIVE, F, H, W], keys (the world's keyframes as still images),
audio [N, 5 kinds, ACTIVE_AUDIO * 16, T], all normalised; the scenes, frames and rate. The first run also writes the
statistics of the latents to ckpt/stats.pt.
"""

import random
import sys
import time

import numpy as np
import torch

import architecture
import train_audio
import train_video_vae
import world

RATE = 25.0  # frames per second
WEIGHTS = {  # (height, width), frames
    ((128, 128), 25): 6,
    ((128, 128), 9): 1,
    ((128, 128), 17): 1,
    ((128, 128), 33): 1,
    ((128, 128), 49): 1,
    ((128, 192), 25): 4,
    ((192, 128), 25): 4,
    ((128, 192), 49): 1,
    ((192, 128), 49): 1,
    ((192, 192), 25): 2,
    ((192, 256), 25): 1,
    ((256, 192), 25): 1,
    ((128, 256), 25): 1,
    ((256, 128), 25): 1,
    ((256, 256), 25): 4,
}
STATISTICS = architecture.CHECKPOINTS / "stats.pt"


class Encoders:
    """The trained encoders of both modalities."""

    def __init__(self):
        self.video_encoder, _ = architecture.video_vae()
        self.video_encoder.load_state_dict(torch.load(train_video_vae.PATH)["enc"])
        self.audio_encoder, _, _ = train_audio.load_vae()

    def video(self, clips):
        return train_video_vae.encode(self.video_encoder, clips.contiguous())[:, : architecture.ACTIVE].float()

    def audio(self, track, frames: int):
        """Returns the latents of all kinds of sound, [5, ACTIVE_AUDIO * 16, T]."""
        latent_frames = round(frames / RATE * 25)
        samples = (4 * latent_frames - 3) * 160
        waves = []
        for kind in world.ATTRIBUTES["sound"]:
            wave = world.audio(kind, track, frames / RATE)
            waves.append(np.pad(wave, ((0, 0), (0, max(0, samples - wave.shape[1]))), mode="reflect")[:, :samples])
        mel = train_audio.mel_of(torch.from_numpy(np.stack(waves)))[:, :, : 4 * latent_frames - 3]
        latents = train_audio.encode(self.audio_encoder, mel)[:, : architecture.ACTIVE_AUDIO]
        return latents.permute(0, 1, 3, 2).reshape(len(waves), -1, latent_frames)


def encode_shard(rng: random.Random, encoders: Encoders, count: int, size=None) -> dict:
    (height, width), frames = size or rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    video, audio, keys, scenes = [], [], [], []
    for _ in range(count):
        scene = world.random_scene(rng, held_out=False)
        clip, track = world.draw([scene], frames, height, width, rng)
        keys.append(torch.cat([encoders.video(clip[:, :, k : k + 1]) for k in world.keyframes(frames)], 2))
        video.append(encoders.video(clip))
        audio.append(encoders.audio(track[0].numpy(), frames))
        scenes.append(scene)
    latents = {"video": torch.cat(video), "keys": torch.cat(keys), "audio": torch.stack(audio)}
    return latents | {"scenes": scenes, "frames": frames, "rate": RATE}


def write_statistics(rng: random.Random, encoders: Encoders) -> None:
    sizes = [((128, 128), 25), ((128, 192), 25), ((192, 128), 25), ((128, 128), 17)]
    shards = [encode_shard(rng, encoders, 10, size) for size in sizes]
    video = torch.cat([shard["video"].transpose(0, 1).flatten(1) for shard in shards], 1)
    audio = torch.cat([shard["audio"].permute(2, 0, 1, 3).flatten(1) for shard in shards], 1)
    statistics = {k: (v.mean(1), v.std(1).clamp(min=0.05)) for k, v in (("video", video), ("audio", audio))}
    torch.save(statistics, STATISTICS)


@torch.no_grad()
def main() -> None:
    minutes, seed = float(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    rng = random.Random(seed)
    architecture.LATENTS.mkdir(exist_ok=True)
    encoders = Encoders()
    if not STATISTICS.exists():
        write_statistics(rng, encoders)
    statistics = torch.load(STATISTICS)
    (video_mean, video_std), (audio_mean, audio_std) = statistics["video"], statistics["audio"]
    start, count = time.time(), 0
    while time.time() - start < minutes * 60:
        shard = encode_shard(rng, encoders, 16)
        for key in ("video", "keys"):
            shard[key] = ((shard[key] - video_mean[:, None, None, None]) / video_std[:, None, None, None]).half()
        shard["audio"] = ((shard["audio"] - audio_mean[:, None]) / audio_std[:, None]).half()
        path = architecture.LATENTS / f"{seed}_{count:05d}.pt"
        torch.save(shard, path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)
        count += 1
        if count % 10 == 0:
            print(count * 16, "clips", f"{time.time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
