"""How both sides run each phase; nothing here needs torch."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Shared:
    # Its name for `ltx2 bench`.
    ours: str
    # How often a run goes through the transformer, of that many steps.
    passes_per_step: int = 0
    # Denoising steps; None for those of the command line.
    steps: int | None = None
    # The size is the whole one divided by this.
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
# Long, and made of others.
BY_REQUEST = ("denoise", "denoise-unguided")
USUAL = tuple(name for name in PHASES if name not in BY_REQUEST)
# Those that diffusers has modules for.
DIFFUSERS = ("forward", "decode-video")
