"""Trains the text encoder, the connectors and the transformer:   python train_transformer.py MINUTES [LEARNING_RATE]

Rectified flow as in the official code: x = (1 - sigma) x0 + sigma noise. The model predicts noise - x0, both modalities
share sigma, and conditioning tokens have timestep 0. Resumes ckpt/dit.pt; new shards of latents are read as they appear.
"""

import math
import random
import sys
import time

import torch
from torch import nn

import architecture
import text_encoder
import world
from transformer import positions, transformer

BATCH_TOKENS = 1100  # video tokens in a batch
NEGATIVE_SHARE, EMPTY_SHARE = 0.07, 0.02  # of the prompts: default negative prompt, empty prompt
IMAGE_SHARE, KEYFRAME_SHARE = 0.12, 0.12  # of the steps: first latent frame given, keyframes given
APART_SHARE, STG_SHARE = 0.06, 0.04  # of the steps: perturbed as in modality guidance, as in STG
PURE_NOISE_SHARE = 0.25  # of the samples
STG_BLOCK = 29 * architecture.LAYERS // 48
PATH = architecture.CHECKPOINTS / "dit.pt"


def draw_sigmas(n: int):
    """Returns n noise levels: 60 % spaced as LTX2Scheduler's steps, 40 % logit-normal, then a share at pure noise.

    At pure noise only the prompt determines the video: there the model learns to follow it.
    """
    u = torch.rand(n).clamp(min=1e-4)
    shift = math.exp(2.05)
    scheduled = shift / (shift + 1 / u - 1)
    normal = torch.sigmoid(torch.randn(n) * 1.1 + 0.6)
    sigmas = torch.where(torch.rand(n) < 0.6, scheduled, normal)
    return torch.where(torch.rand(n) < PURE_NOISE_SHARE, 1 - 0.06 * torch.rand(n), sigmas).clamp(0.02, 1.0)


def channel_weights():
    """Returns the loss weights of the video channels.

    Normalised channels weigh the same, but colours are in three of them: half of the weight follows the variance.
    """
    if not hasattr(channel_weights, "cached"):
        variance = torch.load(architecture.CHECKPOINTS / "stats.pt")["video"][1].pow(2)
        channel_weights.cached = 0.5 + 0.5 * variance / variance.mean()
    return channel_weights.cached


def padded(tokens, width: int = 128):
    """Returns tokens [..., active] with zeros for the channels that are not in use."""
    return torch.cat([tokens, tokens.new_zeros(*tokens.shape[:-1], width - tokens.shape[-1])], -1)


class Latents:
    """The encoded clips, grouped by size."""

    def __init__(self):
        self.seen, self.groups, self.total = set(), {}, 0
        self.refresh()

    def refresh(self) -> None:
        for path in sorted(architecture.LATENTS.glob("*.pt")):
            if path.name in self.seen:
                continue
            self.seen.add(path.name)
            shard = torch.load(path)
            size = (shard["frames"],) + tuple(shard["video"].shape[2:])
            empty = {"video": [], "keys": [], "audio": [], "scenes": [], "rate": shard["rate"]}
            group = self.groups.setdefault(size, empty)
            for key in ("video", "keys", "audio", "scenes"):
                group[key].extend(shard[key])
        self.total = sum(len(group["scenes"]) for group in self.groups.values())

    def batch(self, rng: random.Random) -> dict:
        size = rng.choices(list(self.groups), [len(g["scenes"]) for g in self.groups.values()])[0]
        group = self.groups[size]
        prompts, samples = [], {"video": [], "keys": [], "audio": []}
        for i in rng.choices(range(len(group["scenes"])), k=max(4, BATCH_TOKENS // math.prod(size[1:]))):
            sound = rng.randrange(len(world.ATTRIBUTES["sound"]))
            scene = group["scenes"][i] | {"sound": world.ATTRIBUTES["sound"][sound]}
            r = rng.random()
            fixed = world.NEGATIVE if r < NEGATIVE_SHARE else "" if r < NEGATIVE_SHARE + EMPTY_SHARE else None
            prompts.append(text_encoder.labelled(scene, fixed, rng))
            samples["video"].append(group["video"][i])
            samples["keys"].append(group["keys"][i])
            samples["audio"].append(group["audio"][i][sound])
        keys = torch.stack(samples["keys"]).float().permute(0, 2, 3, 4, 1).flatten(2, 3)
        return {
            "texts": [text for text, _ in prompts],
            "labels": {k: torch.tensor([label[k] for _, label in prompts]) for k in text_encoder.LABELS},
            "video": padded(torch.stack(samples["video"]).float().flatten(2).transpose(1, 2)),  # [B, tokens, 128]
            "keys": padded(keys),  # [B, keyframes, tokens of a frame, 128]
            "audio": padded(torch.stack(samples["audio"]).float().transpose(1, 2)),  # [B, frames, 128]
            "size": size,
            "rate": group["rate"],
        }


class Conditioning:
    """Which of a step's frames are given, as the server's image and keyframe conditionings do it."""

    def __init__(self, rng: random.Random, frames: int):
        self.first, self.keyframes = False, []
        q = rng.random()
        if frames == 1 or q >= IMAGE_SHARE + KEYFRAME_SHARE:
            return
        keyframes_only = q < IMAGE_SHARE + KEYFRAME_SHARE / 2 or q >= IMAGE_SHARE + KEYFRAME_SHARE * 0.8
        self.first = q < IMAGE_SHARE or not keyframes_only
        if q >= IMAGE_SHARE:
            middle, last = world.keyframes(frames)
            self.keyframes = rng.choice([[last], [0, last], [0, last], [0, middle, last], [middle]])


def conditioned(batch: dict, conditioning: Conditioning, noisy, sigma):
    """Returns tokens, timesteps, positions and loss weights of the video with its conditioning."""
    video, (frames, depth, height, width), rate = batch["video"], batch["size"], batch["rate"]
    count, per_frame = video.shape[1], height * width
    grid, _ = positions(depth, height, width, batch["audio"].shape[1], rate)
    weights = torch.ones(1, count, 1)
    timesteps = sigma[:, None].expand(-1, count)
    if conditioning.first:
        weights[:, :per_frame] = 0
        noisy = torch.cat([video[:, :per_frame], noisy[:, per_frame:]], 1)
        timesteps = sigma[:, None] * weights[:, :, 0]
    for frame in conditioning.keyframes:  # appended tokens, one frame long
        still = video[:, :per_frame] if frame == 0 else batch["keys"][:, world.keyframes(frames).index(frame)]
        noisy = torch.cat([noisy, still], 1)
        timesteps = torch.cat([timesteps, torch.zeros(len(sigma), per_frame)], 1)
        place = grid[:, :, :per_frame].clone()
        place[:, 0, :, 0], place[:, 0, :, 1] = frame / rate, (frame + 1) / rate
        grid = torch.cat([grid, place], 2)
    return noisy, timesteps, grid, weights


def perturbations(rng: random.Random):
    """Returns the perturbations of a step: none, or those of modality guidance or of STG."""
    from ltx_core.guidance.perturbations import Perturbation, PerturbationConfig
    from ltx_core.guidance.perturbations import PerturbationType as Kind

    r = rng.random()
    if r < APART_SHARE:
        kinds = [(Kind.SKIP_A2V_CROSS_ATTN, None), (Kind.SKIP_V2A_CROSS_ATTN, None)]
    elif r < APART_SHARE + STG_SHARE:
        kinds = [(Kind.SKIP_VIDEO_SELF_ATTN, [STG_BLOCK]), (Kind.SKIP_AUDIO_SELF_ATTN, [STG_BLOCK])]
    else:
        kinds = []
    return PerturbationConfig([Perturbation(*kind) for kind in kinds])


def losses(text, model, batch: dict, rng: random.Random, length: int):
    """Returns the losses of video, audio and attributes."""
    from ltx_core.guidance.perturbations import BatchedPerturbationConfig
    from ltx_core.model.transformer.modality import Modality

    video, audio = batch["video"], batch["audio"]
    size = len(video)
    ids, n = text.tokenize(batch["texts"])
    video_context, audio_context, bias = text(ids, n, length)
    attributes = text.attribute_loss(video_context, audio_context, n, batch["labels"])
    sigma = draw_sigmas(size)
    s, active_audio = sigma[:, None, None], architecture.ACTIVE_AUDIO * 16
    video_noise, audio_noise = torch.randn_like(video), torch.randn_like(audio)
    video_noise[..., architecture.ACTIVE :] = 0  # their input weights are zero in the exported model
    audio_noise[..., active_audio:] = 0
    conditioning = Conditioning(rng, batch["size"][0])
    noisy = (1 - s) * video + s * video_noise
    tokens, timesteps, grid, weights = conditioned(batch, conditioning, noisy, sigma)
    _, audio_grid = positions(*batch["size"][1:], audio.shape[1], batch["rate"])
    config = BatchedPerturbationConfig([perturbations(rng)] * size)
    video_out, audio_out = model(
        Modality(
            latent=tokens,
            sigma=sigma,
            timesteps=timesteps,
            positions=grid.expand(size, -1, -1, -1),
            context=video_context,
            context_mask=bias,
        ),
        Modality(
            latent=(1 - s) * audio + s * audio_noise,
            sigma=sigma,
            timesteps=sigma[:, None],
            positions=audio_grid.expand(size, -1, -1, -1),
            context=audio_context,
            context_mask=bias,
        ),
        config,
    )
    error = (video_out[:, : video.shape[1]].float() - (video_noise - video))[..., : architecture.ACTIVE].pow(2)
    video_loss = (error * weights * channel_weights()).sum() / (weights.sum() * size * architecture.ACTIVE)
    audio_loss = (audio_out.float() - (audio_noise - audio))[..., :active_audio].pow(2).mean()
    return video_loss, audio_loss, attributes


class Trainer:
    """Parameters, optimizer and step, as kept in the checkpoint."""

    def __init__(self, rng: random.Random):
        self.text, self.model = text_encoder.Text(), transformer()
        self.parts = nn.ModuleDict({"text": self.text, "model": self.model})
        self.parameters = [p for p in self.parts.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
        self.step = 0
        if PATH.exists():
            saved = torch.load(PATH)
            self.parts.load_state_dict(saved["now"])
            if "opt" in saved:  # not after import_weights.py
                self.optimizer.load_state_dict(saved["opt"])
            self.step = saved["step"]
        else:
            text_encoder.pretrain(self.text, rng)

    def save(self) -> None:
        state = {"now": self.parts.state_dict(), "opt": self.optimizer.state_dict(), "step": self.step}
        torch.save(state, PATH.with_suffix(".part"))
        PATH.with_suffix(".part").rename(PATH)

    def update(self, loss, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.step += 1


def main() -> None:
    minutes, base = float(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 2e-3
    length = int(sys.argv[3]) if len(sys.argv) > 3 else text_encoder.CONTEXT
    torch.set_num_threads(1)
    rng = random.Random(time.time())
    trainer, latents = Trainer(rng), Latents()
    start, saved, log, first = time.time(), time.time(), [], trainer.step
    while (spent := (time.time() - start) / 60) < minutes:
        # Warm-up, flat, then down in the last third.
        falling = min(1.0, max(0.03, (minutes - spent) / (0.35 * minutes)))
        rate = base * min(1, (trainer.step - first + 1) / 100) * falling
        parts = losses(trainer.text, trainer.model, latents.batch(rng), rng, length)
        trainer.update(parts[0] + 0.5 * parts[1] + 0.1 * parts[2], rate)
        log.append([part.item() for part in parts])
        if trainer.step % 25 == 0:
            video, audio, attributes = (sum(column) / len(column) for column in zip(*log))
            print(
                f"{trainer.step} {spent:.1f} min lr {rate:.1e} video {video:.4f} audio {audio:.4f} "
                f"text {attributes:.4f} clips {latents.total}",
                flush=True,
            )
            log = []
            latents.refresh()
        if time.time() - saved > 90:
            trainer.save()
            saved = time.time()
    trainer.save()


if __name__ == "__main__":
    main()
