"""Weights of the official modules: synthetic (scripts/reference/synth.py, computed on the device), or from a model set."""
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/reference"))
import synth  # noqa: E402

MASK = (1 << 64) - 1
# Values computed at once: 0.5 GB of integers.
CHUNK = 1 << 26


def signed(n: int) -> int:
    """Returns the int64 with the same bits, since torch has no unsigned arithmetic."""
    n &= MASK
    return n - (1 << 64) if n >> 63 else n


def shifted(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Returns x >> bits as a logical shift."""
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def unit(name: str, start: int, count: int, seed: int, device) -> torch.Tensor:
    """Returns synth.unit(name, ...)[start : start + count], on the device."""
    golden = int(synth.GOLDEN)
    x = torch.arange(start, start + count, dtype=torch.int64, device=device)
    x.mul_(signed(golden)).add_(signed(synth.fnv1a64(name) ^ ((seed * golden) & MASK)))
    x.bitwise_xor_(shifted(x, 30)).mul_(signed(0xBF58476D1CE4E5B9))
    x.bitwise_xor_(shifted(x, 27)).mul_(signed(0x94D049BB133111EB))
    x.bitwise_xor_(shifted(x, 31))
    # 2 * (k / 2^24) - 1 with k of 24 bits: exact in float32.
    return shifted(x, 40).sub_(1 << 23).to(torch.float32).mul_(2.0**-23)


def make(name: str, shape: tuple, seed: int, device, dtype=torch.bfloat16) -> torch.Tensor:
    """Returns synth.synth(name, shape, seed), rounded to dtype."""
    center, amplitude = (float(np.float32(value)) for value in synth.scale_rule(name, tuple(shape)))
    count = math.prod(shape)
    out = torch.empty(count, dtype=dtype, device=device)
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        # Two operations, so that the product and the sum are each rounded.
        out[start : start + size] = unit(name, start, size, seed, device).mul_(amplitude).add_(center)
    return out.reshape(shape)


def check(device) -> None:
    """Raises unless `make` equals synth.py bit for bit, also across chunks."""
    global CHUNK
    whole, CHUNK = CHUNK, 1000
    try:
        for name, shape, seed in (("a.weight", (63, 41), 0), ("b.bias", (2049,), 3), ("vae.per_channel_statistics.std-of-means", (128,), 1),
                                  ("language_model.model.norm.weight", (700,), 7), ("c.conv.weight", (9, 8, 3, 3, 3), 1 << 40)):
            expected = torch.from_numpy(synth.synth(name, shape, seed))
            for dtype in (torch.float32, torch.bfloat16):
                if not torch.equal(make(name, shape, seed, device, dtype).cpu(), expected.to(dtype)):
                    raise AssertionError(f"the synthetic weights of {name} on {device} differ from those of synth.py")
    finally:
        CHUNK = whole


class Synthetic:
    """A published architecture with synthetic weights, the same as those of `ltx2 bench --base`."""

    def __init__(self, base: str, seed: int = 0):
        spec = json.loads((ROOT / f"models/architectures/{base}.json").read_text())
        self.config, self.seed, self.base, self.gemma = spec["config"], seed, base, None

    def tensor(self, name: str, shape: tuple, device, dtype) -> torch.Tensor:
        return make(name, shape, self.seed, device).to(dtype)

    def declared(self) -> dict:
        """Returns names and shapes of the tensors that ltx2 loads; a test of ltx2-models checks its networks against this list."""
        shapes = {}
        for line in (ROOT / f"crates/ltx2-models/tests/fixtures/{self.base}.tensors").read_text().splitlines():
            name, shape = line.split()
            before, star, after = name.partition(".*")
            count, _, rest = after.partition(".")
            names = [f"{before}.{i}.{rest}" for i in range(int(count))] if star else [name]
            shapes |= {name: tuple(map(int, shape.split("x"))) for name in names}
        return shapes


class Files:
    """A model set in the published layout, such as `ltx2 demo-model --synthetic` writes."""

    def __init__(self, folder: Path):
        from safetensors import safe_open

        checkpoints = [path for path in folder.glob("*.safetensors") if "config" in (safe_open(path, "pt").metadata() or {})]
        checkpoint = next(path for path in checkpoints if "model_version" in safe_open(path, "pt").metadata())
        files = [safe_open(path, "pt") for path in (checkpoint, *sorted((folder / "gemma").glob("*.safetensors")))]
        self.where = {name: file for file in files for name in file.keys()}
        self.config = json.loads(files[0].metadata()["config"])
        self.gemma = json.loads((folder / "gemma/config.json").read_text())

    def tensor(self, name: str, shape: tuple, device, dtype) -> torch.Tensor:
        value = self.where[name].get_tensor(name)
        if tuple(value.shape) != tuple(shape):
            raise ValueError(f"{name}: expected shape {tuple(shape)} of the official module, found {tuple(value.shape)} in the file")
        return value.to(device=device, dtype=dtype)

    def declared(self) -> dict:
        return {name: tuple(file.get_slice(name).get_shape()) for name, file in self.where.items()}

    def check_synthetic(self, seed: int, device) -> int:
        """Checks that the tensors of the set, except fixed filters, equal those of `make`, and returns their number."""
        names = [name for name in self.where if not name.endswith(".filter")]
        for name in names:
            value = self.where[name].get_tensor(name)
            if not torch.equal(value, make(name, tuple(value.shape), seed, device).cpu()):
                raise AssertionError(f"{name} of the demo model differs from the synthetic rule")
        return len(names)
