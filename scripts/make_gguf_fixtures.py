#!/usr/bin/env python3
"""Create the fixtures for GGUF files with the `gguf` package, whose dequantisation and names ltx2 must match.

    python3 -m venv ~/.gguf && ~/.gguf/bin/pip install gguf==0.19.0 safetensors==0.8.0
    ~/.gguf/bin/python scripts/make_gguf_fixtures.py

`blocks.gguf` has a tensor of each block type, `blocks.safetensors` the same in float32 as dequantised by the package. Types that
the package can quantise are quantised from random values; the others have random bytes with scales of a realistic size.
`gemma3-12b.names` lists the text model's tensors: the Hugging Face name, then that of llama.cpp.
"""
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFWriter
from safetensors.numpy import save_file

FOLDER = Path(__file__).resolve().parents[1] / "crates/ltx2-models/tests/fixtures/gguf"
SHAPE = (2, 512)
QUANTISED = [Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0]
# Offsets of float16 scales within a block.
RANDOM = {Type.Q2_K: (80, 82), Type.Q3_K: (108,), Type.Q4_K: (0, 2), Type.Q5_K: (0, 2), Type.Q6_K: (208,)}
LAYERS = 48


def random_blocks(rng: np.random.Generator, kind: Type, scales: tuple) -> np.ndarray:
    size, width = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (SHAPE[0] * SHAPE[1] // size, width), dtype=np.uint8)
    for at in scales:
        values = rng.uniform(-0.01, 0.01, len(blocks)).astype(np.float16)
        blocks[:, at:at + 2] = values.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(SHAPE[0], -1)


def write_blocks() -> None:
    rng = np.random.default_rng(1)
    writer = GGUFWriter(FOLDER / "blocks.gguf", "test")
    writer.add_uint32("test.count", 7)
    writer.add_float32("test.epsilon", 1e-6)
    writer.add_bool("test.flag", True)
    writer.add_array("test.list", ["a", "bc", ""])
    expected = {}
    for kind in QUANTISED:
        blocks = gguf.quants.quantize(rng.standard_normal(SHAPE).astype(np.float32), kind)
        writer.add_tensor(kind.name, blocks, raw_dtype=kind)
        expected[kind.name] = gguf.quants.dequantize(blocks, kind)
    for kind, scales in RANDOM.items():
        blocks = random_blocks(rng, kind, scales)
        writer.add_tensor(kind.name, blocks, raw_dtype=kind)
        expected[kind.name] = gguf.quants.dequantize(blocks, kind)
    values = rng.standard_normal((3, 2, 5)).astype(np.float32)
    writer.add_tensor("F32", values)
    expected["F32"] = values
    writer.add_tensor("F16", values[0].astype(np.float16))
    expected["F16"] = values[0].astype(np.float16).astype(np.float32)
    rounded = gguf.quants.quantize(values[0, 0], Type.BF16)
    writer.add_tensor("BF16", rounded, raw_dtype=Type.BF16)
    expected["BF16"] = gguf.quants.dequantize(rounded, Type.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file({name: np.ascontiguousarray(value, dtype=np.float32) for name, value in expected.items()}, FOLDER / "blocks.safetensors")


def write_names() -> None:
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GEMMA3, LAYERS)
    layer = ["input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "self_attn.q_norm",
             "self_attn.k_norm", "post_attention_layernorm", "pre_feedforward_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
             "post_feedforward_layernorm"]
    modules = ["model.embed_tokens", "model.norm"] + [f"model.layers.{i}.{name}" for i in (0, LAYERS - 1) for name in layer]
    lines = [f"language_model.{module}.weight {names.get_name(module)}.weight\n" for module in modules]
    (FOLDER / "gemma3-12b.names").write_text("".join(lines))


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_blocks()
    write_names()


if __name__ == "__main__":
    main()
