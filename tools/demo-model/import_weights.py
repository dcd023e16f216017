"""Writes checkpoints from a model set, so that training goes on from it:   python import_weights.py FOLDER

The inverse of export.py, in bfloat16's precision. States of the optimizers and the attribute heads of the text encoder are
not in a set: they start anew. Checkpoints that exist are kept.
"""

import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

import architecture
import text_encoder
from export import gemma_name
from transformer import transformer

VIDEO, AUDIO = architecture.ACTIVE, architecture.ACTIVE_AUDIO * 16  # entries of the statistics in use


def below(tensors: dict, prefix: str) -> dict:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def save(name: str, state: dict) -> None:
    path = architecture.CHECKPOINTS / f"{name}.pt"
    if path.exists():
        print(f"{path} exists and is kept")
    else:
        torch.save(state, path)


def autoencoders(tensors: dict) -> None:
    for name, parts in (("vae", architecture.video_vae()), ("audio_vae", architecture.audio_vae())):
        state = {}
        for key, part in zip(("enc", "dec"), parts):
            missing, unexpected = part.load_state_dict(below(tensors, f"{name}.{key}oder."), strict=False)
            assert not unexpected and all("per_channel" in m or "mel_transform" in m for m in missing), missing
            state[key] = part.state_dict()
        save(name, state | {"step": 0})
    statistics = {}
    for prefix, modality, count in (("vae", "video", VIDEO), ("audio_vae", "audio", AUDIO)):
        values = below(tensors, f"{prefix}.per_channel_statistics.")
        statistics[modality] = (values["mean-of-means"][:count], values["std-of-means"][:count])
    save("stats", statistics)
    save("vocoder", {"voc": below(tensors, "vocoder."), "step": 0})


def transformer_state(tensors: dict, gemma: dict) -> dict:
    """Returns the state of text encoder and transformer."""
    prefix = "model.diffusion_model."
    text, model = text_encoder.Text(), transformer()
    state = {k: gemma[gemma_name(k)] for k in text.gemma.state_dict() if k != "lm_head.weight"}
    text.gemma.load_state_dict(state, strict=False)
    projections = below(tensors, "text_embedding_projection.")
    state = {f"feature_extractor.{key}": value for key, value in projections.items()}
    rest = below(tensors, prefix)
    for modality in ("video", "audio"):
        connector = f"{modality}_embeddings_connector."
        state |= {f"{modality}_connector.{key}": value for key, value in below(rest, connector).items()}
        rest = {key: value for key, value in rest.items() if not key.startswith(connector)}
    text.proc.load_state_dict(state)
    model.load_state_dict(rest)
    return torch.nn.ModuleDict({"text": text, "model": model}).state_dict()


@torch.no_grad()
def main() -> None:
    folder = Path(sys.argv[1])
    text_encoder.FOLDER.mkdir(parents=True, exist_ok=True)
    for file in (folder / "gemma").iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, text_encoder.FOLDER / file.name)
    tensors = {key: value.float() for key, value in load_file(folder / "ltx.safetensors").items()}
    autoencoders(tensors)
    gemma = {key: value.float() for key, value in load_file(folder / "gemma" / "model.safetensors").items()}
    save("dit", {"now": transformer_state(tensors, gemma), "step": 0})


if __name__ == "__main__":
    main()
