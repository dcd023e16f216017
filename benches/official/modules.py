"""The official modules: built on the meta device, then loaded with weights, as ltx-core's own loader does."""
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from . import weights  # noqa: F401  (adds scripts/reference to the path)

import tiny  # noqa: E402
from make_checkpoint import build, write_gemma_assets  # noqa: E402


@dataclass
class Built:
    """Modules by name, and their parameter counts."""

    modules: dict
    # Parameters that ltx2 has too.
    parameters: int
    # Parameters that only the official side has, such as Gemma's vision tower.
    further: int


def transformer(source, device, dtype) -> Built:
    from ltx_core.model.transformer import LTXModelConfigurator, X0Model

    with torch.device("meta"):
        model = build(LTXModelConfigurator, source.config)
    fill = Filler(source, device, dtype, lambda n: n.startswith("model.diffusion_model.") and "embeddings_connector" not in n)
    fill(model, lambda key: f"model.diffusion_model.{key}")
    return fill.built({"transformer": X0Model(model).to(device).eval()})


def prompt_encoder(source, device, dtype) -> Built:
    from ltx_core.text_encoders.gemma import EmbeddingsProcessorConfigurator, GemmaTextEncoderConfigurator
    from ltx_core.text_encoders.gemma.encoders import encoder_configurator

    with tempfile.TemporaryDirectory() as folder:
        write_gemma_assets(Path(folder), source.gemma or tiny.GEMMA_12B)
        with torch.device("meta"):
            encoder = GemmaTextEncoderConfigurator.with_gemma_model_path(folder).from_metadata({})
            processor = build(EmbeddingsProcessorConfigurator.with_gemma_model_path(folder), source.config)
    fill = Filler(source, device, dtype, lambda n: n.startswith(("language_model.", "text_embedding_projection.")) or "embeddings_connector" in n)
    fill(encoder, gemma_name, encoder_configurator._create_and_populate_gemma3)
    fill(processor, processor_name)
    return fill.built({"encoder": encoder.to(device).eval(), "processor": processor.to(device).eval()})


def video_decoder(source, device, dtype) -> Built:
    from ltx_core.model.video_vae import VideoDecoderConfigurator

    with torch.device("meta"):
        model = build(VideoDecoderConfigurator, source.config)
    fill = Filler(source, device, dtype, lambda n: n.startswith(("vae.decoder.", "vae.per_channel_statistics.")))
    fill(model, lambda key: vae_name("vae", key))
    return fill.built({"decoder": model.to(device).eval()})


def audio_decoder(source, device, dtype) -> Built:
    from ltx_core.model.audio_vae import AudioDecoderConfigurator, VocoderConfigurator

    small_audio_statistics()
    with torch.device("meta"):
        decoder = build(AudioDecoderConfigurator, source.config)
    # The fixed filters are computed, not loaded.
    vocoder = build(VocoderConfigurator, source.config)
    ours = ("audio_vae.decoder.", "audio_vae.per_channel_statistics.", "vocoder.")
    fill = Filler(source, device, dtype, lambda n: n.startswith(ours))
    fill(decoder, lambda key: vae_name("audio_vae", key))
    fill(vocoder, lambda key: f"vocoder.{key}")
    return fill.built({"decoder": decoder.to(device).eval(), "vocoder": vocoder.to(device).eval()})


def small_audio_statistics() -> None:
    """Decouples the statistics of audio latents from `ch`: they have 128 entries, which ltx-core derives from the published 128."""
    from ltx_core.model.audio_vae import audio_vae, ops

    audio_vae.PerChannelStatistics = lambda latent_channels: ops.PerChannelStatistics(latent_channels=128)


def vae_name(vae: str, key: str) -> str:
    return f"{vae}.{key}" if key.startswith("per_channel_statistics.") else f"{vae}.decoder.{key}"


def gemma_name(key: str) -> str:
    if key == "model.lm_head.weight":  # tied to the embedding by ltx-core
        return "language_model.model.embed_tokens.weight"
    key = key.removeprefix("model.model.")
    if key.startswith("vision_tower.") and not key.startswith("vision_tower.vision_model."):  # transformers 5 has no such level
        key = key.replace("vision_tower.", "vision_tower.vision_model.", 1)
    return key.replace("language_model.", "language_model.model.", 1) if key.startswith("language_model.") else key


def processor_name(key: str) -> str:
    if key.startswith("feature_extractor."):
        return "text_embedding_projection." + key.removeprefix("feature_extractor.")
    modality, rest = key.split("_connector.", 1)
    return f"model.diffusion_model.{modality}_embeddings_connector.{rest}"


class Filler:
    """Loads weights into modules, and checks names and shapes against those that ltx2 loads."""

    def __init__(self, source, device, dtype, belongs):
        self.source, self.device, self.dtype = source, device, dtype
        self.declared = {name: shape for name, shape in source.declared().items() if belongs(name)}
        self.given = {}

    def __call__(self, module: nn.Module, named, finish=None) -> None:
        """Builds and loads a module. `finish` creates the buffers that are not in a checkpoint, such as Gemma's frequencies."""
        state = {}
        for key, value in module.state_dict().items():
            name = named(key)
            if name.endswith(".filter"):
                state[key] = value.to(self.device, self.dtype)
            elif name in self.given:
                state[key] = self.given[name]
                continue
            else:
                state[key] = self.source.tensor(name, tuple(value.shape), self.device, self.dtype)
            self.given[name] = state[key]
        module.load_state_dict(state, strict=True, assign=True)
        if finish:
            finish(module)
        unset = [name for name, value in (*module.named_parameters(), *module.named_buffers()) if value.is_meta]
        if unset:
            raise AssertionError(f"{len(unset)} tensors have no weights, such as {unset[0]}")

    def built(self, modules: dict) -> Built:
        shapes = {name: tuple(value.shape) for name, value in self.given.items()}
        wrong = [name for name, shape in self.declared.items() if shapes.get(name) != shape]
        # The list of tensors that ltx2 loads omits the unused half of the spectrogram's basis.
        if wrong:
            raise AssertionError(f"{len(wrong)} tensors of ltx2 differ from the official module's, such as {wrong[0]}")
        count = {name: value.numel() for name, value in self.given.items()}
        shared = sum(count[name] for name in self.declared)
        return Built(modules, shared, sum(count.values()) - shared)
