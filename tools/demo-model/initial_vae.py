"""Initial weights from which the video VAE learns in minutes instead of hours.

With torch's initialisation the signal fades over the chain of convolutions and the latents drown in the latent noise.
Here each convolution between the stages starts as a projection at its centre tap: in the encoder onto the principal
components of its input, so the untrained encoder is a hierarchical PCA; in the decoder as a ridge regression of the
encoder's features at that resolution.
"""

import random

import torch

import architecture
import world

NEIGHBOURS = [(1, 1, 1), (0, 1, 1), (2, 1, 1), (1, 0, 1), (1, 2, 1), (1, 1, 0), (1, 1, 2)]  # taps (t, y, x)


def set_centre(conv, matrix, tap: int, rest: float) -> None:
    """Sets the weights to `matrix` at the tap (tap, 1, 1) and scales the others by `rest`."""
    weight = conv.conv.weight
    weight.mul_(rest)
    weight[:, :, tap, 1, 1] += matrix
    conv.conv.bias.zero_()


def rows(x):
    """Returns [B, C, F, H, W] as [elements, C]."""
    return x.permute(0, 2, 3, 4, 1).reshape(-1, x.shape[1])


def principal_components(x):
    """Returns mean, deviations (largest first) and components of the channels of [elements, C]."""
    mean = x.mean(0)
    values, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    return mean, values.flip(0).clamp(min=0).sqrt(), vectors.T.flip(0)


def projected(x, k: int):
    """Returns the first k principal components, mostly whitened, of [B, C, F, H, W] over channels."""
    mean, deviation, components = principal_components(rows(x))
    matrix = (components / (deviation + 0.1 * deviation[0])[:, None])[:k]
    return ((x.permute(0, 2, 3, 4, 1) - mean) @ matrix.T).permute(0, 4, 1, 2, 3)


def ridge(features, goal, limit: int = 12000, strength: float = 1e-3):
    """Returns the ridge regression of `goal` on `features`; the last row is the bias."""
    a, b = rows(features), rows(goal)
    keep = torch.randperm(len(a))[:limit]
    a = torch.cat([a[keep], torch.ones(len(keep), 1)], 1).double()
    gram = a.T @ a / len(keep) + strength * torch.eye(a.shape[1], dtype=torch.float64)
    return torch.linalg.solve(gram, a.T @ b[keep].double() / len(keep)).float()


def pad(x):
    """Returns [B, C, F, H, W] with one more frame, row and column on each side."""
    x = torch.cat([x[:, :, :1], x, x[:, :, -1:]], 2)
    return torch.nn.functional.pad(x, (1, 1, 1, 1, 0, 0), mode="replicate")


def random_clips(rng: random.Random, count: int = 300):
    clips = []
    for i in range(count):
        window = (rng.randint(0, 64), rng.randint(0, 64), 64, 64)
        palette = [[[rng.randint(0, 255) for _ in range(3)] for _ in range(2)]] if i % 3 == 0 else None
        part = (rng.choice([0, 8, 16]), 9)
        clips.append(world.draw([world.random_scene(rng)], 25, 128, 128, rng, window, part, palette)[0])
    return torch.cat(clips)


def initialise_encoder(encoder, patches):
    """Sets the encoder's weights; returns the latents and the features at the two finer resolutions."""
    identity = torch.zeros(128, 48)
    identity[:48] = torch.eye(48)
    set_centre(encoder.conv_in, identity, 2, 0.02)
    # Constants travel along the residual branches: the last norm keeps the magnitudes.
    encoder.conv_in.conv.bias[48:] = 1.0
    h = encoder.conv_in(patches)
    features = []
    for i, block in enumerate(encoder.down_blocks):
        if hasattr(block, "conv"):
            x = rows(h)
            _, deviation, components = principal_components(x[torch.randperm(len(x))[:20000]])
            k = block.conv.conv.weight.shape[0]
            set_centre(block.conv, components[:k] / (deviation[:k] + 0.1 * deviation[0])[:, None], 2, 0.02)
        else:
            for residual in block.res_blocks:
                residual.conv2.conv.weight.mul_(0.2)
        h = block(h)
        if i in (4, 6):
            features.append(h)
    h = encoder.conv_act(encoder.conv_norm_out(h))
    mean, deviation, components = principal_components(rows(h))
    matrix = torch.zeros(129, 128)
    matrix[:128] = components / (deviation + 0.05 * deviation[0])[:, None]
    set_centre(encoder.conv_out, matrix, 2, 0.02)
    encoder.conv_out.conv.bias[:128] = -(matrix[:128] @ mean)
    latents = encoder.conv_out(h)[:, :128]
    latents[:, architecture.ACTIVE :] = 0
    return latents, features


def initialise_upsampling(block, h, target) -> None:
    """Sets an upsampling convolution to the regression of `target` at each of its 8 sub-pixel positions."""
    outputs, inputs = block.conv.conv.weight.shape[0] // 8, h.shape[1]
    taps = NEIGHBOURS[:1] if inputs == 128 else NEIGHBOURS
    frames, height, width = h.shape[2:]
    around = pad(h)
    block.conv.conv.weight.mul_(0.02)
    for p in range(8):
        pt, py, px = p >> 2, (p >> 1) & 1, p & 1
        t0 = 1 - pt  # the block drops its first frame
        goal = target[:, :, 2 * t0 + pt - 1 :: 2, py::2, px::2][:, :, : frames - t0]
        skip = torch.stack([h[:, (j % (inputs // 8)) * 8 + p, t0:] for j in range(outputs)], 1)
        columns = [around[:, :, t + t0 : t + frames, y : y + height, x : x + width] for t, y, x in taps]
        solution = ridge(torch.cat(columns, 1), goal - skip)
        for i, (t, y, x) in enumerate(taps):
            block.conv.conv.weight[p::8, :, t, y, x] += solution[i * inputs : (i + 1) * inputs].T
        block.conv.conv.bias[p::8] = solution[-1]


def initialise_decoder(decoder, latents, features, patches) -> None:
    levels = [projected(features[1], 64), projected(features[0], 32), projected(patches, 15)]
    levels[2] = torch.cat([levels[2], torch.ones_like(levels[2][:, :1])], 1)  # a constant, as in the encoder
    set_centre(decoder.conv_in, torch.eye(128), 1, 0.0)
    h = decoder.conv_in(latents, causal=False)
    for block in decoder.up_blocks:
        if hasattr(block, "conv"):
            initialise_upsampling(block, h, levels.pop(0))
        else:
            for residual in block.res_blocks:
                residual.conv2.conv.weight.mul_(0.1)
                residual.conv2.conv.bias.zero_()
        h = block(h, causal=False)
    around = pad(decoder.conv_act(decoder.conv_norm_out(h)))
    frames, height, width = patches.shape[2:]
    cube = [(t, y, x) for t in range(3) for y in range(3) for x in range(3)]
    taps = [tap for tap in cube if sum(i != 1 for i in tap) < 2]
    columns = [around[:, :, t : t + frames, y : y + height, x : x + width] for t, y, x in taps]
    solution = ridge(torch.cat(columns, 1), patches, 30000)
    decoder.conv_out.conv.weight.mul_(0.02)
    for i, (t, y, x) in enumerate(taps):
        decoder.conv_out.conv.weight[:, :, t, y, x] += solution[i * 16 : (i + 1) * 16].T
    decoder.conv_out.conv.bias.copy_(solution[-1])


@torch.no_grad()
def initialise(encoder, decoder, seed: int = 0) -> None:
    """Sets the weights of both networks."""
    from ltx_core.model.video_vae.ops import patchify

    torch.manual_seed(seed)
    clips = random_clips(random.Random(seed))
    patches = patchify(clips, patch_size_hw=4, patch_size_t=1)
    latents, features = initialise_encoder(encoder, patches)
    initialise_decoder(decoder, latents, features, patches)
    print("untrained: L1", (decoder(latents) - clips).abs().mean().item())
