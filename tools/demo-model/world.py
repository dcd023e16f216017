"""The world of the demo model: procedurally drawn clips, their audio, and the sentences that describe them.

A scene is a dict with one value for each attribute of ATTRIBUTES. Positions, exact radii and wording are random.
"""

import math
import random
import zlib

import numpy as np
import torch

COLOURS = {
    "red": (222, 38, 42),
    "orange": (246, 140, 28),
    "yellow": (246, 220, 52),
    "green": (46, 168, 72),
    "blue": (40, 86, 222),
    "purple": (140, 58, 190),
    "white": (244, 244, 244),
    "black": (18, 18, 20),
}
ATTRIBUTES = {
    "size": ["small", "large"],
    "colour": list(COLOURS),
    "shape": ["ball", "square", "triangle", "ring"],
    "motion": ["right", "left", "up", "down", "bounce", "still", "grow", "shrink"],
    "background": list(COLOURS),
    "sound": ["hum", "high", "beeps", "rising", "silence"],
}
RATE = 16000  # samples per second of the drawn audio

# The default negative prompt of the model set (models/demo/trained/defaults.json).
NEGATIVE = (
    "blurry, out of focus, low contrast, noise, flicker, jitter, motion smear, warped anatomy, extra limbs, "
    "duplicated objects, unreadable text, watermark, muffled or robotic voice, echo, background hiss, "
    "sound out of step with the lips"
)

SIZE_WORDS = {"small": ["small", "little", "tiny"], "large": ["large", "big", "huge"]}
SHAPE_WORDS = {
    "ball": ["ball", "circle", "disc"],
    "square": ["square", "box", "block"],
    "triangle": ["triangle", "pyramid"],
    "ring": ["ring", "hoop", "circle outline"],
}
MOTION_WORDS = {
    "right": [
        "moves left to right",
        "moves from left to right",
        "moves to the right",
        "moves right",
        "slides to the right",
        "travels from the left to the right",
        "goes right",
        "rolls to the right",
    ],
    "left": [
        "moves right to left",
        "moves from right to left",
        "moves to the left",
        "moves left",
        "slides to the left",
        "travels from the right to the left",
        "goes left",
        "rolls to the left",
    ],
    "up": ["rises", "moves up", "goes up", "floats up", "rises slowly", "climbs"],
    "down": ["falls", "moves down", "goes down", "drops", "sinks", "falls down"],
    "bounce": ["bounces", "bounces up and down", "hops", "jumps up and down", "is bouncing"],
    "still": ["stays still", "does not move", "stands still", "rests", "is still", "stays in place"],
    "grow": ["grows", "gets bigger", "becomes larger", "swells", "expands"],
    "shrink": ["shrinks", "gets smaller", "becomes smaller", "contracts"],
}
SOUND_WORDS = {
    "hum": ["a low hum", "low hum", "a deep hum", "a low humming sound", "a deep low tone", "humming"],
    "high": ["a high tone", "high tone", "a high pitched tone", "a shrill tone", "a high note", "a whistle"],
    "beeps": ["short beeps", "beeps", "a beeping sound", "beeping", "repeated short beeps"],
    "rising": ["a rising tone", "rising tone", "a tone that rises", "a tone going up", "a rising siren"],
    "silence": ["silence", "no sound", "silent", "in silence", "it is quiet"],
}
FILLERS = [
    "a video of",
    "an animation of",
    "show",
    "show me",
    "there is",
    "a clip of",
    "a cartoon of",
    "we see",
    "please draw",
    "imagine",
    "a simple scene with",
    "a short film of",
]
TAILS = [
    "in a simple style",
    "smoothly",
    "very simple",
    "with flat colours",
    "cartoon",
    "4k",
    "high quality",
    "minimal",
]


def is_held_out(scene: dict) -> bool:
    """Returns whether the combination of shape, colour, background and motion is kept from training: one in eight."""
    key = " ".join(scene[k] for k in ("shape", "colour", "background", "motion"))
    return zlib.crc32(key.encode()) % 8 == 0


def random_scene(rng: random.Random, held_out: bool | None = None) -> dict:
    """Returns a scene; with `held_out`, one that is kept from training, or one that is not."""
    while True:
        scene = {k: rng.choice(v) for k, v in ATTRIBUTES.items()}
        if scene["background"] != scene["colour"] and held_out in (None, is_held_out(scene)):
            return scene


def with_article(noun: str) -> str:
    return ("an " if noun[0] in "aeio" else "a ") + noun


def caption(scene: dict, rng: random.Random, drop: bool = True, said: set | None = None) -> str:
    """Returns a sentence about the scene, in one of several orders. With `drop`, some attributes are left out.

    The attributes that are not left out are added to `said`.
    """
    said = set() if said is None else said

    def keep(what: str, probability: float) -> bool:
        if drop and rng.random() < probability:
            return False
        said.add(what)
        return True

    said.add("shape")
    noun = rng.choice(SHAPE_WORDS[scene["shape"]])
    adjectives = [rng.choice(SIZE_WORDS[scene["size"]])] if keep("size", 0.35) else []
    adjectives += [scene["colour"]] if keep("colour", 0.04) else []
    if len(adjectives) == 2 and rng.random() < 0.1:
        adjectives.reverse()
    noun = " ".join(adjectives + [noun])
    subject = rng.choice([with_article(noun)] * 4 + [noun, f"the {noun}"])
    motion = rng.choice(MOTION_WORDS[scene["motion"]]) if keep("motion", 0.06) else ""
    ground = ""
    if keep("background", 0.06):
        b = scene["background"]
        a = with_article(b)
        ground = rng.choice(
            [f"on {a} background"] * 4
            + [
                f"on {b}",
                f"in front of {a} background",
                f"against {a} background",
                f"over {a} background",
                f"the background is {b}",
                f"{b} background",
            ]
        )
    sound = rng.choice(SOUND_WORDS[scene["sound"]]) if keep("sound", 0.12) else ""
    text = arrange(subject, motion, ground, sound, rng)
    if rng.random() < 0.45:
        text = text[0].upper() + text[1:]
    return text + "." if rng.random() < 0.4 else text


def arrange(subject: str, motion: str, ground: str, sound: str, rng: random.Random) -> str:
    """Returns the parts of a sentence in a random order."""
    style = rng.random()
    if style < 0.55:
        text = " ".join(t for t in (subject, motion, ground) if t)
        return text + rng.choice([", ", ", ", " with ", ", with ", ". "]) + sound if sound else text
    action = f"{subject} {motion}".strip()
    if style < 0.75:
        return ", ".join(t for t in (action, ground, sound) if t)
    if style < 0.88:
        return ", ".join(t for t in (ground, action, sound) if t)
    action = f"{subject} {motion} {ground}".replace("  ", " ").strip()
    return rng.choice([", ", ": "]).join(t for t in (sound, action) if t)


def prompt(scene: dict, rng: random.Random, said: set | None = None) -> str:
    """Returns a caption in free wording: at times with an opening, an ending or an unknown word without a meaning."""
    text = caption(scene, rng, True, said)
    if rng.random() < 0.2:
        text = rng.choice(FILLERS) + " " + text[0].lower() + text[1:]
    if rng.random() < 0.12:
        text = text.rstrip(".") + ", " + rng.choice(TAILS)
    if rng.random() < 0.1:
        unknown = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 8)))
        words = text.split(" ")
        words.insert(rng.randint(0, len(words)), unknown)
        text = " ".join(words)
    return text


def keyframes(frames: int) -> list[int]:
    """Returns the frames of a clip that are also encoded as still images: the middle and the last one."""
    return [(frames - 1) // 2, frames - 1]


def tracks(scenes: list, frames: int, height: int, width: int, rng: random.Random):
    """Returns centre x, centre y and radius of each object in each frame, in pixels, each [B, frames]."""
    progress = np.linspace(0.0, 1.0, frames) if frames > 1 else np.zeros(1)
    side = min(height, width)
    xs, ys, radii = [], [], []
    for scene in scenes:
        r = side * ((0.125 if scene["size"] == "small" else 0.22) + rng.uniform(-0.005, 0.005))
        x = np.full(frames, width * rng.uniform(0.48, 0.52))
        y = np.full(frames, height * rng.uniform(0.48, 0.52))
        radius = np.full(frames, r)
        motion, margin = scene["motion"], r + 0.03 * side
        if motion in ("right", "left"):
            q = progress if motion == "right" else 1 - progress
            x = margin + (width - 2 * margin) * q
        elif motion in ("up", "down"):
            q = progress if motion == "down" else 1 - progress
            y = margin + (height - 2 * margin) * q
        elif motion == "bounce":
            floor, top = height - margin, margin + 0.1 * height
            y = floor - (floor - top) * np.abs(np.sin(2 * math.pi * progress))
        elif motion in ("grow", "shrink"):
            q = progress if motion == "grow" else 1 - progress
            radius = side * (0.07 + (0.30 - 0.07) * q) * (1.0 if scene["size"] == "large" else 0.8)
        xs.append(x)
        ys.append(y)
        radii.append(radius)
    return np.stack(xs), np.stack(ys), np.stack(radii)


def distance(shape: str, dx, dy, radius):
    """Returns the signed distance of a pixel to the shape's contour, negative inside."""
    if shape == "ball":
        return (dx * dx + dy * dy).sqrt() - radius
    if shape == "square":
        return torch.maximum(dx.abs(), dy.abs()) - 0.86 * radius
    if shape == "triangle":
        return torch.maximum(dy, math.sqrt(3) / 2 * dx.abs() - 0.5 * dy) - 0.62 * radius
    return ((dx * dx + dy * dy).sqrt() - 0.76 * radius).abs() - 0.24 * radius


def draw(scenes: list, frames: int, height: int, width: int, rng: random.Random, window=None, part=None, palette=None):
    """Returns clips [B, 3, frames, height, width] in [-1, 1], and the x track of each object, [B, frames] in 0..1.

    `window` = (y, x, h, w) draws only that part of the image and `part` = (first, count) only those frames.
    `palette` = [B, 2, 3] gives other colours of object and background, in 0..255.
    """
    first, count = part or (0, frames)
    x, y, r = (
        torch.from_numpy(t).float()[:, first : first + count, None, None]
        for t in tracks(scenes, frames, height, width, rng)
    )
    y0, x0, h, w = window or (0, 0, height, width)
    grid_y = (torch.arange(y0, y0 + h).float() + 0.5)[None, None, :, None]
    grid_x = (torch.arange(x0, x0 + w).float() + 0.5)[None, None, None, :]
    dx, dy = grid_x - x, grid_y - y
    light = 1.0 - 0.10 * (grid_y[0] / height) * torch.ones_like(grid_x[0])  # a little darker towards the bottom
    out = torch.empty(len(scenes), 3, count, h, w)
    for i, scene in enumerate(scenes):
        alpha = (0.5 - distance(scene["shape"], dx[i], dy[i], r[i])).clamp(0, 1)
        pair = palette[i] if palette is not None else [COLOURS[scene["colour"]], COLOURS[scene["background"]]]
        colour, ground = (torch.as_tensor(c).float()[:, None, None, None] / 127.5 - 1 for c in pair)
        ground = (ground + 1) * light - 1
        out[i] = ground + (colour - ground) * alpha[None]
    return out, x[:, :, 0, 0] / width


def audio(kind: str, track: np.ndarray, seconds: float, rate: int = RATE) -> np.ndarray:
    """Returns stereo samples [2, n] of a kind of sound, panned along the track.

    Every tone is a multiple of 100 Hz whose phase is 0 at time 0. The vocoder is a convolutional network over frames of
    10 ms: from a steady spectrogram it can only make what repeats with the frames. Tones on that grid make its waveform
    a function of the spectrogram, so that it learns without an adversary.
    """
    n = int(round(seconds * rate))
    t = np.arange(n) / rate
    if kind == "hum":
        wave = sum(a * np.sin(2 * np.pi * f * t) for a, f in ((0.5, 100), (0.3, 200), (0.15, 300)))
    elif kind == "high":
        wave = 0.45 * np.sin(2 * np.pi * 2000 * t)
    elif kind == "beeps":
        phase = (t * 5) % 1.0  # five a second
        wave = 0.5 * np.sin(2 * np.pi * 800 * t) * np.clip(np.minimum(phase, 0.5 - phase) / 0.03, 0, 1)
    elif kind == "rising":
        k = 3 + np.floor(np.clip(t / max(seconds, 1e-3), 0, 0.999) * 14)  # 300 to 1600 Hz in steps
        wave = 0.45 * np.sin(2 * np.pi * 100 * k * t)
    else:
        wave = np.zeros(n)
    pan = np.clip(np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(track)), track), 0.15, 0.85)
    return (np.stack([wave * np.cos(pan * np.pi / 2), wave * np.sin(pan * np.pi / 2)]) * 0.7).astype(np.float32)
