#!/usr/bin/env python3
"""List the tensors, configurations and defaults that the diffusers classes declare for LTX-2 and LTX-2.3 at full size.

    python3 -m venv ~/.diffusers && ~/.diffusers/bin/pip install torch==2.9.1 diffusers==0.42.1 transformers==5.23.0
    ~/.diffusers/bin/python scripts/list_diffusers_tensors.py

Modules are built on the meta device, so no weights are needed. Each line of a list is FOLDER/NAME SHAPE; repeated blocks are
written once, with `*COUNT` in place of their index. A JSON file beside each list has the config.json of each folder.
"""
import json
import re
from pathlib import Path

import torch
from diffusers import AutoencoderKLLTX2Audio, AutoencoderKLLTX2Video, LTX2VideoTransformer3DModel
from diffusers.pipelines.ltx2 import LTX2LatentUpsamplerModel, LTX2TextConnectors, LTX2Vocoder, LTX2VocoderWithBWE

MODELS = Path(__file__).resolve().parents[1] / "crates/ltx2-models"
REPEATED = re.compile(r"\b(transformer/transformer_blocks)\.(\d+)\.")

# Values of the published configurations that differ from the classes' defaults.
GENERATIONS = {
    "ltx-2-19b": {
        "transformer": (LTX2VideoTransformer3DModel, {"rope_type": "split"}),
        "connectors": (LTX2TextConnectors, {"rope_type": "split"}),
        "vae": (AutoencoderKLLTX2Video, {"decoder_causal": False, "spatial_compression_ratio": 32, "temporal_compression_ratio": 8}),
        "audio_vae": (AutoencoderKLLTX2Audio, {}),
        "vocoder": (LTX2Vocoder, {}),
        "latent_upsampler": (LTX2LatentUpsamplerModel, {"use_rational_resampler": False}),
    },
    "ltx-2.3-22b": {
        "transformer": (LTX2VideoTransformer3DModel, {
            "rope_type": "split", "gated_attn": True, "cross_attn_mod": True, "audio_gated_attn": True, "audio_cross_attn_mod": True,
            "use_prompt_embeddings": False, "perturbed_attn": True}),
        "connectors": (LTX2TextConnectors, {
            "rope_type": "split", "video_connector_num_attention_heads": 32, "video_connector_num_layers": 8, "video_gated_attn": True,
            "audio_connector_num_attention_heads": 32, "audio_connector_attention_head_dim": 64, "audio_connector_num_layers": 8,
            "audio_gated_attn": True, "per_modality_projections": True, "proj_bias": True}),
        "vae": (AutoencoderKLLTX2Video, {
            "decoder_causal": False, "spatial_compression_ratio": 32, "temporal_compression_ratio": 8,
            "block_out_channels": [256, 512, 1024, 1024], "layers_per_block": [4, 6, 4, 2, 2],
            "decoder_block_out_channels": [256, 512, 512, 1024], "decoder_layers_per_block": [4, 6, 4, 2, 2],
            "decoder_spatio_temporal_scaling": [True] * 4, "decoder_inject_noise": [False] * 5, "upsample_residual": [False] * 4,
            "upsample_type": ["spatiotemporal", "spatiotemporal", "temporal", "spatial"], "upsample_factor": [2, 2, 1, 2],
            "decoder_spatial_padding_mode": "zeros"}),
        "audio_vae": (AutoencoderKLLTX2Audio, {}),
        "vocoder": (LTX2VocoderWithBWE, {}),
        "latent_upsampler": (LTX2LatentUpsamplerModel, {"use_rational_resampler": True, "rational_spatial_scale": 1.5}),
    },
}


def public(config: dict) -> dict:
    return {key: value for key, value in config.items() if not key.startswith("_")}


def dump(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")


def main() -> None:
    fixtures = MODELS / "tests/fixtures/diffusers"
    fixtures.mkdir(parents=True, exist_ok=True)
    defaults = {}
    for generation, components in GENERATIONS.items():
        counts, shapes, configs = {}, {}, {}
        for folder, (kind, changes) in components.items():
            with torch.device("meta"):
                module = kind(**changes)
                defaults[kind.__name__] = public(kind().config)
            configs[folder] = {"_class_name": kind.__name__} | public(module.config)
            for name, value in module.state_dict().items():
                short = REPEATED.sub(r"\1.*.", f"{folder}/{name}")
                assert shapes.setdefault(short, value.shape) == value.shape, f"{name} has another shape than in other blocks"
                counts[short] = counts.get(short, 0) + 1
        lines = [f"{short.replace('.*.', f'.*{counts[short]}.')} {'x'.join(map(str, shapes[short]))}\n" for short in sorted(shapes)]
        (fixtures / f"{generation}.tensors").write_text("".join(lines))
        dump(fixtures / f"{generation}.json", configs)
    dump(MODELS / "src/checkpoint/diffusers/defaults.json", defaults)


if __name__ == "__main__":
    main()
