"""Measures what a video shows and sounds like: background, colour, shape, motion, size and kind of sound."""

import math

import av
import numpy as np

import world

NAMES = list(world.COLOURS)
PALETTE = np.array(list(world.COLOURS.values()), float)
LIGHT = np.array([1.0, 0.95, 0.9])  # the drawn background is darker towards the bottom
UNKNOWN = "?"
BLURS = (0.0, 0.06, 0.12)  # of the templates, relative to the square root of the area


def read(path):
    """Returns the frames [F, H, W, 3] of an MP4, its samples [channels, n] and their rate."""
    with av.open(str(path)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return frames, np.zeros((2, 1)), 24000
        samples = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], -1)
        return frames, samples, container.streams.audio[0].rate


def nearest_colour(rgb) -> str:
    error = np.abs(PALETTE[:, None] * LIGHT[None, :, None] - rgb).sum(-1).min(1)
    return NAMES[int(error.argmin())]


def look(frames) -> dict:
    """Returns the measured attributes of a video."""
    f = frames.astype(float)
    border = [
        f[:, :4].reshape(-1, 3),
        f[:, -4:].reshape(-1, 3),
        f[:, :, :4].reshape(-1, 3),
        f[:, :, -4:].reshape(-1, 3),
    ]
    found = {"background": nearest_colour(np.median(np.concatenate(border), 0))}
    unknown = dict.fromkeys(("colour", "motion", "shape", "size"), UNKNOWN)
    sides = np.concatenate([f[:, :, :6], f[:, :, -6:]], 2)
    contrast = np.abs(f - np.median(sides, axis=(0, 2))[None, :, None]).sum(-1)
    masks = contrast > max(90.0, 0.4 * np.percentile(contrast, 99.5))
    areas = masks.sum((1, 2)).astype(float)
    visible = np.flatnonzero(areas > 15)
    if masks.sum() < 20 * len(f) or len(visible) < (len(f) + 1) // 2:
        return found | unknown
    core = f[contrast > 0.8 * np.percentile(contrast[masks], 90)]
    found["colour"] = nearest_colour(np.median(core, 0))
    centres = np.array([np.argwhere(masks[i]).mean(0) for i in visible])
    found["motion"] = motion(centres / frames.shape[1:3], areas[visible], frames.shape[2] / frames.shape[1])
    reference = np.percentile(contrast[masks], 90)
    found["shape"] = shape(np.where(masks, np.minimum(contrast / reference, 1), 0)[visible])
    side = max(np.median([np.ptp(np.argwhere(masks[i]), axis=0).max() + 1 for i in visible]), 1)
    found["size"] = "small" if side / min(frames.shape[1:3]) < 0.35 else "large"
    return found


def motion(centres, areas, aspect: float) -> str:
    """Returns the motion of relative centres [F, (y, x)] and areas [F]."""
    start, end = slice(None, 4), slice(-4, None)
    dy, dx = centres[end].mean(0) - centres[start].mean(0)
    growth = areas[end].mean() / areas[start].mean()
    y = centres[:, 0]
    smooth = np.convolve(y, np.ones(3) / 3, "valid") if len(y) > 4 else y
    turns = (np.diff(np.sign(np.diff(smooth))) != 0).sum()
    if abs(dx) > 0.22 and abs(dx) * aspect > abs(dy):
        return "right" if dx > 0 else "left"
    if np.ptp(y) > 0.22 and turns >= 2 and abs(dy) < 0.35:
        return "bounce"
    if abs(dy) > 0.2:
        return "down" if dy > 0 else "up"
    return "grow" if growth > 1.9 else "shrink" if growth < 0.53 else "still"


def template(name: str, area: float, dy, dx):
    """Returns the mask of a shape of `area` pixels, for offsets from its centroid."""
    if name == "ball":
        return dx**2 + dy**2 <= area / math.pi
    if name == "square":
        return np.maximum(np.abs(dx), np.abs(dy)) <= math.sqrt(area) / 2
    if name == "triangle":  # equilateral, pointing up; the inradius from the area
        inradius = math.sqrt(area / (3 * math.sqrt(3)))
        return np.maximum(dy, math.sqrt(3) / 2 * np.abs(dx) - 0.5 * dy) <= inradius
    hole = 0.52  # of the outer radius
    outer = area / math.pi / (1 - hole**2)
    squared = dx**2 + dy**2
    return (squared <= outer) & (squared >= outer * hole**2)


def blurred(image, sigma: float):
    """Returns a Gaussian blur of [H, W]."""
    transfer = [np.exp(-2 * (np.pi * sigma * np.fft.fftfreq(n)) ** 2) for n in image.shape]
    return np.fft.ifft2(np.fft.fft2(image) * transfer[0][:, None] * transfer[1][None]).real


def shape(objects) -> str:
    """Returns the shape whose template has the highest correlation with the objects [F, H, W], given as coverage in 0..1.

    A template has the object's area and centroid. It is blurred as strongly as fits best, because the decoder rounds
    corners: a soft triangle is a triangle.
    """
    rows, columns = np.mgrid[: objects.shape[1], : objects.shape[2]]
    scores = {}
    for image in objects[::2]:
        area = image.sum()
        dy, dx = rows - (image * rows).sum() / area, columns - (image * columns).sum() / area
        for name in world.ATTRIBUTES["shape"]:
            sharp = template(name, area, dy, dx).astype(float)
            for softness in BLURS:
                drawn = blurred(sharp, softness * math.sqrt(area)) if softness else sharp
                score = (image * drawn).sum() / math.sqrt((image**2).sum() * (drawn**2).sum())
                scores[name, softness] = scores.get((name, softness), 0.0) + score
    return max(scores, key=scores.get)[0]


def listen(samples, rate: int) -> str:
    """Returns the kind of sound."""
    x = samples.mean(0)
    if np.sqrt((x**2).mean()) < 0.02:
        return "silence"
    n = int(rate * 0.08)
    windows = np.stack([x[i : i + n] for i in range(0, len(x) - n, n // 2)])
    peaks = np.fft.rfftfreq(n, 1 / rate)[np.abs(np.fft.rfft(windows * np.hanning(n))).argmax(1)]
    levels = np.sqrt((windows**2).mean(1))
    peaks = peaks[levels > 0.4 * levels.max()]
    quarter = max(1, len(peaks) // 4)
    if np.median(peaks[-quarter:]) - np.median(peaks[:quarter]) > 350:
        return "rising"
    fine = np.array([np.sqrt((x[i : i + n // 4] ** 2).mean()) for i in range(0, len(x) - n // 4, n // 8)])
    if (fine < 0.35 * fine.max()).mean() > 0.2:
        return "beeps"
    peak = np.median(peaks)
    return "hum" if peak < 500 else "high" if peak > 1500 else "beeps"
