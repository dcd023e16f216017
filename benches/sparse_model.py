"""A published model set at full size in sparse files that take no space and whose weights read as zeros.

Names, shapes and configurations are the published ones: sufficient to load, plan and count, not to generate a video.
"""
import json
import math
import re
import shutil
import struct
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BYTES = {"BF16": 2, "F8_E4M3": 1, "F32": 4}
LORA_RANK = 384
# Sizes of the published upscaler that differ from the demo model's.
UPSCALER_WIDTHS, UPSCALER_BLOCKS = {32: 1024, 128: 4096}, 4
GEMMA_CONFIG = {"model_type": "gemma3_text", "rope_scaling": {"factor": 8.0, "rope_type": "linear"}}


def names(line: str) -> list:
    """Expands a pattern: `a.*3.b` is a.0.b, a.1.b and a.2.b."""
    found = re.search(r"\*(\d+)", line)
    if not found:
        return [line]
    return [name for i in range(int(found[1])) for name in names(line[: found.start()] + str(i) + line[found.end():])]


def tensors(path: Path) -> list:
    """Returns pairs of name and shape from a list with one tensor, or one pattern of names, per line."""
    found = []
    for line in path.read_text().splitlines():
        name, _, shape = line.partition(" ")
        found += [(name, [int(size) for size in shape.split("x")] if shape else []) for name in names(name)]
    return found


def write(path: Path, content: list, metadata: dict, dtype=lambda name, shape: "BF16") -> None:
    """Writes a safetensors file that consists of a header and a hole."""
    header, end = {"__metadata__": metadata}, 0
    for name, shape in content:
        kind = dtype(name, shape)
        size = math.prod(shape) * BYTES[kind]
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


def is_block_matrix(name: str, shape: list) -> bool:
    is_linear = name.endswith(".weight") and len(shape) == 2 and ("to_" in name or ".net." in name)
    return is_linear and name.startswith("model.diffusion_model.transformer_blocks")


def upscaler(base: str) -> tuple:
    """Returns the tensors and the config of the upscaler, derived from the demo model's."""
    folder = ROOT / "models/demo" / base
    content = []
    for name, shape in tensors(folder / "spatial_upscaler.tensors"):
        widths = UPSCALER_WIDTHS if name.startswith("upsampler") else {32: UPSCALER_WIDTHS[32]}
        shape = [widths.get(size, size) for size in shape]
        block = re.fullmatch(r"((?:post_upsample_)?res_blocks)\.0\.(.*)", name)
        content += [(f"{block[1]}.{i}.{block[2]}", shape) for i in range(UPSCALER_BLOCKS)] if block else [(name, shape)]
    config = json.loads(json.loads((folder / "spatial_upscaler.metadata.json").read_text())["config"])
    config |= {"mid_channels": UPSCALER_WIDTHS[32], "num_blocks_per_stage": UPSCALER_BLOCKS}
    return content, {"config": json.dumps(config)}


def make(folder: Path, base: str, float8: bool = False, two_stages: bool = False) -> None:
    """Writes the model set `base` (ltx-2-19b or ltx-2.3-22b). With `float8` the matrices of the blocks are float8; with `two_stages`
    the set includes the upscaler and the distilled LoRA."""
    content = tensors(ROOT / f"crates/ltx2-models/tests/fixtures/{base}.tensors")
    spec = json.loads((ROOT / f"models/architectures/{base}.json").read_text())
    (folder / "gemma").mkdir(parents=True)
    kind = (lambda name, shape: "F8_E4M3" if is_block_matrix(name, shape) else "BF16") if float8 else lambda *_: "BF16"
    metadata = {"config": json.dumps(spec["config"]), "model_version": spec["model_version"]}
    write(folder / "ltx.safetensors", [t for t in content if not t[0].startswith("language_model")], metadata, kind)
    write(folder / "gemma/model.safetensors", [t for t in content if t[0].startswith("language_model")], {"format": "pt"})
    demo = ROOT / "models/demo/gemma"
    config = json.loads((demo / "config.json").read_text()) | {"text_config": GEMMA_CONFIG}
    (folder / "gemma/config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "preprocessor_config.json"):
        shutil.copy(demo / name, folder / "gemma" / name)
    if two_stages:
        lora = []
        for name, (d_out, d_in) in [t for t in content if is_block_matrix(*t)]:
            layer = name.removeprefix("model.").removesuffix(".weight")
            lora += [(f"{layer}.lora_A.weight", [LORA_RANK, d_in]), (f"{layer}.lora_B.weight", [d_out, LORA_RANK])]
        write(folder / "lora-distilled.safetensors", lora, {"format": "pt"})
        write(folder / "spatial_upscaler.safetensors", *upscaler(base))
