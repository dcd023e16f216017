"""Writes the trained parts as a model set in the published formats:   python export.py FOLDER

FOLDER/ltx.safetensors (`config` and `model_version` in its metadata) and FOLDER/gemma/, all weights in bfloat16. Latent
channels not in use have mean 0 and deviation 1 in the statistics, and zero weights where they enter or leave a network.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

import architecture
import text_encoder
import train_transformer
from transformer import transformer


def load(name: str) -> dict:
    return torch.load(architecture.CHECKPOINTS / f"{name}.pt")


def transformer_tensors(text, model) -> dict:
    """Returns the tensors of the transformer, the connectors and the text projection."""
    model.patchify_proj.weight[:, architecture.ACTIVE :] = 0
    model.audio_patchify_proj.weight[:, architecture.ACTIVE_AUDIO * 16 :] = 0
    for connector in (text.proc.video_connector, text.proc.audio_connector):
        registers = connector.learnable_registers.data[: text_encoder.CONTEXT]
        connector.learnable_registers.data = registers.repeat(128 // text_encoder.CONTEXT, 1)
    prefix = "model.diffusion_model."
    tensors = {prefix + key: value for key, value in model.state_dict().items()}
    for key, value in text.proc.state_dict().items():
        if key.startswith("feature_extractor."):
            tensors["text_embedding_projection." + key.removeprefix("feature_extractor.")] = value
        else:
            modality, rest = key.split("_connector.", 1)
            tensors[f"{prefix}{modality}_embeddings_connector.{rest}"] = value
    return tensors


def autoencoder_tensors() -> dict:
    """Returns the tensors of both autoencoders with their statistics, and of the vocoder."""
    tensors = {}
    for name, saved in (("vae", load("vae")), ("audio_vae", load("audio_vae"))):
        for part in ("enc", "dec"):
            for key, value in saved[part].items():
                if not key.startswith("per_channel") and "mel_transform" not in key:
                    tensors[f"{name}.{part}oder.{key}"] = value
    k, k_audio = architecture.ACTIVE, architecture.ACTIVE_AUDIO
    for key, value in tensors.items():
        if key.startswith("vae.encoder.conv_out."):
            value[k:128] = 0
        elif key == "vae.decoder.conv_in.conv.weight":
            value[:, k:] = 0
        elif key.startswith("audio_vae.encoder.conv_out."):
            value[k_audio:8] = 0
        elif key.startswith("audio_vae.decoder.conv_in.") and key.endswith("weight"):
            value[:, k_audio:] = 0
    statistics = load("stats")
    for prefix, modality in (("vae", "video"), ("audio_vae", "audio")):
        mean, deviation = statistics[modality]
        others = 128 - len(mean)
        tensors[f"{prefix}.per_channel_statistics.mean-of-means"] = torch.cat([mean, torch.zeros(others)])
        tensors[f"{prefix}.per_channel_statistics.std-of-means"] = torch.cat([deviation, torch.ones(others)])
    return tensors | {f"vocoder.{key}": value for key, value in load("vocoder")["voc"].items()}


def gemma_name(key: str) -> str:
    """Returns the published name of a tensor of the text encoder."""
    for part in ("vision_tower", "multi_modal_projector"):
        key = key.replace(f"model.{part}.", f"{part}.", 1)
    return key.replace("model.language_model.", "language_model.model.", 1)


def save(tensors: dict, path: Path, metadata: dict) -> None:
    save_file({k: v.to(torch.bfloat16).contiguous() for k, v in tensors.items()}, path, metadata=metadata)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


@torch.no_grad()
def main() -> None:
    folder = Path(sys.argv[1])
    (folder / "gemma").mkdir(parents=True, exist_ok=True)
    text, model = text_encoder.Text(), transformer()
    saved = torch.load(train_transformer.PATH)
    torch.nn.ModuleDict({"text": text, "model": model}).load_state_dict(saved["now"])
    specification = architecture.specification()
    metadata = {"config": json.dumps(specification["config"]), "model_version": specification["model_version"]}
    save(transformer_tensors(text, model) | autoencoder_tensors(), folder / "ltx.safetensors", metadata)
    for file in text_encoder.FOLDER.iterdir():
        shutil.copy(file, folder / "gemma" / file.name)
    gemma = {gemma_name(k): v for k, v in text.gemma.state_dict().items() if k != "lm_head.weight"}
    save(gemma, folder / "gemma" / "model.safetensors", {"format": "pt"})
    print(f"step {saved['step']}")


if __name__ == "__main__":
    main()
