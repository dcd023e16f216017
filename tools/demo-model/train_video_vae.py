"""Trains the video VAE on drawn clips:   python train_video_vae.py MINUTES [decoder [NOISE]]

Resumes ckpt/vae.pt; the learning rate decays over MINUTES. `decoder` trains the decoder alone, for latents that no longer
change. Loss: L1, L1 of spatial and temporal differences (edges), and a penalty on the size of the latents against fixed
latent noise (a VAE with fixed variance), so that the decoder tolerates the errors of the small transformer.
"""

import math
import random
import sys
import time

import torch

import architecture
import initial_vae
import world

PENALTY, RATE = 2e-3, 0.2  # the rate is divided by a layer's fan-in: 128 x 27 inputs move together
PATH = architecture.CHECKPOINTS / "vae.pt"
SIZES = [(128, 128), (128, 192), (192, 128), (128, 128), (192, 192)]
# Clips, frames, height and width of a batch. The decoder alone gets whole images: in a crop of 2 x 2 latents every one is
# at the edge.
CROPS = [(4, 9, 64, 64), (4, 9, 64, 64), (3, 9, 64, 96), (3, 9, 96, 64), (2, 17, 64, 64), (16, 1, 64, 64)]
DECODER_CROPS = [(2, 9, 128, 128), (2, 9, 96, 128), (2, 9, 128, 96), (1, 17, 128, 128), (1, 25, 128, 128)]


def random_batch(rng: random.Random, decoder_only: bool):
    """Returns crops of scenes of several sizes; a quarter of them in colours that no word names."""
    n, frames, h, w = rng.choice(DECODER_CROPS if decoder_only else CROPS)
    if not decoder_only and rng.random() < 0.05:
        n, frames, h, w = 1, 17, 128, 128
    height, width = (h, w) if decoder_only and rng.random() < 0.4 else rng.choice(SIZES)
    height, width = max(height, h), max(width, w)
    length = max(frames, rng.choice([17, 25, 25, 33]))
    clips = []
    for _ in range(n):
        y, x = rng.randint(0, height - h), rng.randint(0, width - w)
        if rng.random() < 0.5:  # near the middle, which most objects pass
            y = (height - h) // 2 + rng.randint(-(height - h) // 4, (height - h) // 4)
            x = (width - w) // 2 + rng.randint(-(width - w) // 4, (width - w) // 4)
        first = rng.choice([0, rng.randint(0, length - frames)])
        palette = [[[rng.randint(0, 255) for _ in range(3)] for _ in range(2)]] if rng.random() < 0.25 else None
        scene = world.random_scene(rng)
        clips.append(world.draw([scene], length, height, width, rng, (y, x, h, w), (first, frames), palette)[0])
    return torch.cat(clips)


def encode(encoder, clips):
    """Returns the means of ltx-core's encoder before the statistics, with zeros in the channels not in use."""
    from ltx_core.model.video_vae.ops import patchify

    h = encoder.conv_in(patchify(clips, patch_size_hw=encoder.patch_size, patch_size_t=1))
    for block in encoder.down_blocks:
        h = block(h)
    means = encoder.conv_out(encoder.conv_act(encoder.conv_norm_out(h)))[:, :128].float()
    active = means[:, : architecture.ACTIVE]
    return torch.cat([active, torch.zeros_like(means[:, architecture.ACTIVE :])], 1)


def difference(a, b, dim: int):
    return (a.diff(dim=dim) - b.diff(dim=dim)).abs().mean() if a.shape[dim] > 1 else a.new_zeros(())


def contour_weights(clips):
    """Returns the decoder's loss weights: high near contours, which distinguish the shapes, and higher at low contrast."""
    pool = torch.nn.functional.max_pool3d
    window = ((1, 7, 7), 1, (0, 3, 3))
    spread = (pool(clips, *window) + pool(-clips, *window)).mean(1, keepdim=True)
    contrast = spread.amax((2, 3, 4), keepdim=True)
    return 1 + 5 * (spread > 0.4 * contrast).float() * (contrast > 0.15) / (0.4 + contrast)


def loss_of(decoded, clips, latents, sharp: float, decoder_only: bool):
    """Returns the loss, and L1, edges and size of the latents for the log. `sharp` goes from 0 (colours) to 1 (edges)."""
    absolute = (decoded - clips).abs()
    l1 = (absolute * contour_weights(clips)).mean() if decoder_only else absolute.mean()
    edges = difference(decoded, clips, 3) + difference(decoded, clips, 4) + 0.5 * difference(decoded, clips, 2)
    size = latents[:, : architecture.ACTIVE].pow(2).mean()
    loss = (1 - 0.7 * sharp) * absolute.pow(2).mean() + (0.3 + 0.7 * sharp) * (l1 + edges) + PENALTY * size
    return loss, (l1.item(), edges.item(), size.item())


def main() -> None:
    minutes, decoder_only = float(sys.argv[1]), sys.argv[2:3] == ["decoder"]
    noise = float(sys.argv[3]) if len(sys.argv) > 3 else 0.08 if decoder_only else 0.15
    torch.set_num_threads(1)
    rng = random.Random(time.time())
    encoder, decoder = architecture.video_vae()
    encoder.requires_grad_(not decoder_only)
    for part in (encoder, decoder):
        part.to(memory_format=torch.channels_last_3d)
    parameters = [p for part in (encoder, decoder) for p in part.parameters() if p.requires_grad]
    groups = {}
    for p in parameters:
        groups.setdefault(min(1e-3, RATE / (p[0].numel() if p.ndim > 1 else 1)), []).append(p)
    groups = [{"params": group, "lr": rate, "base": rate} for rate, group in groups.items()]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.98))
    step = 0
    if PATH.exists():
        saved = torch.load(PATH)
        encoder.load_state_dict(saved["enc"])
        decoder.load_state_dict(saved["dec"])
        step = saved["step"]
        if not decoder_only and "opt" in saved:
            optimizer.load_state_dict(saved["opt"])
    else:
        initial_vae.initialise(encoder, decoder)

    def save() -> None:
        state = {"enc": encoder.state_dict(), "dec": decoder.state_dict(), "step": step}
        torch.save(state if decoder_only else state | {"opt": optimizer.state_dict()}, PATH.with_suffix(".part"))
        PATH.with_suffix(".part").rename(PATH)

    start, saved, log = time.time(), time.time(), []
    while (spent := (time.time() - start) / 60) < minutes:
        rate = min(1, (step + 1) / 50) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * spent / minutes)))
        for group in optimizer.param_groups:
            group["lr"] = rate * group["base"]
        sharp = 1.0 if decoder_only else min(1.0, max(0.0, (step - 300) / 700))
        clips = random_batch(rng, decoder_only).contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.set_grad_enabled(not decoder_only):
                latents = encode(encoder, clips)
            deviation = 0.05 + (noise - 0.05) * sharp
            decoded = decoder(latents + deviation * torch.randn_like(latents)).float()
        loss, logged = loss_of(decoded, clips, latents, sharp, decoder_only)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        step += 1
        log.append(logged)
        if step % 50 == 0:
            l1, edges, size = (sum(column) / len(column) for column in zip(*log))
            print(f"{step} {spent:.1f} min lr {rate:.1e} l1 {l1:.4f} edges {edges:.4f} size {size:.3f}", flush=True)
            log = []
        if time.time() - saved > 45:
            save()
            saved = time.time()
    save()


if __name__ == "__main__":
    main()
