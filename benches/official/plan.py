"""Parameters of each phase, common to both sides. Does not import torch."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Shared:
    # Name of the phase in `ltx2 bench`.
    ours: str
    # Transformer passes per step; 0 for phases without the transformer.
    passes_per_step: int = 0
    # Denoising steps; None for the number given on the command line.
    steps: int | None = None
    # Divisor of the width and height.
    divided: int = 1


PHASES = {
    "encode-prompt": Shared("encode-prompt"),
    "forward": Shared("forward", 1, 1),
    "guided-step": Shared("guided-step", 4, 1),
    "distilled-stage-1": Shared("denoise-unguided", 1, 8, 2),
    "distilled-stage-2": Shared("denoise-unguided", 1, 3),
    "denoise": Shared("denoise", 4),
    "denoise-unguided": Shared("denoise-unguided", 1),
    "decode-video": Shared("decode-video"),
    "decode-video-tiled": Shared("decode-video-tiled"),
    "decode-audio": Shared("decode-audio"),
}
# Long phases that are composed of others, run on request only.
BY_REQUEST = ("denoise", "denoise-unguided")
USUAL = tuple(name for name in PHASES if name not in BY_REQUEST)
# Phases for which diffusers has modules.
DIFFUSERS = ("forward", "decode-video")
