#!/usr/bin/env python3
"""List the names and shapes of a published model's tensors, as the official modules declare them.

    ~/.ref/bin/python scripts/list_tensors.py ltx-2-19b > crates/ltx2-models/tests/fixtures/ltx-2-19b.tensors

Modules are built on the meta device, so no weights are needed. Repeated blocks are written once, with `*COUNT` in place of their
index. Only the tensors that ltx2 loads are listed: Gemma's text model, and the vocoder without the inverse basis, which its
spectrogram does not use.
"""
import json
import re
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent / "reference"))
import make_checkpoint  # noqa: E402
import tiny  # noqa: E402

REPEATED = re.compile(r"(transformer_blocks|transformer_1d_blocks|language_model\.model\.layers|resblocks\.\d+\.(?:acts|convs)[12])\.(\d+)\.")


def declared(config: dict, gemma_folder: str) -> dict:
    from ltx_core.model.audio_vae import AudioDecoderConfigurator, AudioEncoderConfigurator, VocoderConfigurator
    from ltx_core.model.transformer import LTXModelConfigurator
    from ltx_core.model.video_vae import VideoDecoderConfigurator, VideoEncoderConfigurator
    from ltx_core.text_encoders.gemma import EmbeddingsProcessorConfigurator
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    processor = EmbeddingsProcessorConfigurator.with_gemma_model_path(gemma_folder)
    names = {}
    with torch.device("meta"):
        for key, value in make_checkpoint.build(LTXModelConfigurator, config).state_dict().items():
            names[f"model.diffusion_model.{key}"] = value.shape
        for configurator, vae, part in ((VideoEncoderConfigurator, "vae", "encoder"), (VideoDecoderConfigurator, "vae", "decoder"),
                                        (AudioDecoderConfigurator, "audio_vae", "decoder"),
                                        (AudioEncoderConfigurator, "audio_vae", "encoder")):
            for key, value in make_checkpoint.build(configurator, config).state_dict().items():
                names[f"{vae}.{key}" if key.startswith("per_channel_statistics.") else f"{vae}.{part}.{key}"] = value.shape
        for key, value in make_checkpoint.build(VocoderConfigurator, config).state_dict().items():
            if not key.endswith("inverse_basis"):
                names[f"vocoder.{key}"] = value.shape
        for key, value in make_checkpoint.build(processor, config).state_dict().items():
            modality, _, rest = key.partition("_connector.")
            if key.startswith("feature_extractor."):
                names["text_embedding_projection." + key.removeprefix("feature_extractor.")] = value.shape
            else:
                names[f"model.diffusion_model.{modality}_embeddings_connector.{rest}"] = value.shape
        gemma = Gemma3ForConditionalGeneration(Gemma3Config.from_dict(tiny.GEMMA_12B))
        for key, value in gemma.state_dict().items():
            if key.startswith("model.language_model."):
                names[key.replace("model.language_model.", "language_model.model.", 1)] = value.shape
    return names


def main() -> None:
    path = Path(__file__).resolve().parent.parent / "models" / "architectures" / f"{sys.argv[1]}.json"
    with tempfile.TemporaryDirectory() as folder:
        make_checkpoint.write_gemma_assets(Path(folder), tiny.GEMMA_12B)
        names = declared(json.loads(path.read_text())["config"], folder)
    counts, shapes = {}, {}
    for name, shape in names.items():
        short = REPEATED.sub(r"\1.*.", name)
        assert shapes.setdefault(short, shape) == shape, f"{name} has another shape than in other blocks"
        counts[short] = counts.get(short, 0) + 1
    for short in sorted(shapes):
        print(short.replace(".*.", f".*{counts[short]}."), "x".join(map(str, shapes[short])))


if __name__ == "__main__":
    main()
