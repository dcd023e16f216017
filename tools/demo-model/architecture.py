"""The demo model's configuration, and functions that build its parts from ltx-core's classes.

The configuration is that of the published LTX-2 19B with small values. No key, block kind or tensor name is new.
"""

import copy
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "scripts" / "reference"  # make_checkpoint.py and run_reference.py
sys.path.insert(0, str(REFERENCE))

WORK = Path(os.environ.get("DEMO_WORK", "/tmp/ltx2-demo-model"))  # checkpoints and latents, outside the repository
CHECKPOINTS = WORK / "ckpt"
LATENTS = WORK / "latents"
CHECKPOINTS.mkdir(parents=True, exist_ok=True)

LAYERS, HEADS, HEAD_DIM, AUDIO_HEAD_DIM = 6, 4, 32, 16  # transformer: width 128, audio 64
GEMMA, GEMMA_LAYERS = 64, 2  # width and depth of the text encoder; the connectors have the same width
ACTIVE = 48  # video latent channels in use, of 128; the others are constant
ACTIVE_AUDIO = 2  # audio latent channels in use, of 8


def specification() -> dict:
    """Returns `config` and `model_version` of the checkpoint's metadata."""
    published = json.loads((ROOT / "models" / "architectures" / "ltx-2-19b.json").read_text())
    result = copy.deepcopy(published)
    config = result["config"]
    config["transformer"].update(
        num_layers=LAYERS,
        num_attention_heads=HEADS,
        attention_head_dim=HEAD_DIM,
        cross_attention_dim=HEADS * HEAD_DIM,
        audio_num_attention_heads=HEADS,
        audio_attention_head_dim=AUDIO_HEAD_DIM,
        audio_cross_attention_dim=HEADS * AUDIO_HEAD_DIM,
        caption_channels=GEMMA,
        connector_num_attention_heads=2,
        connector_attention_head_dim=GEMMA // 2,
        connector_num_layers=1,
    )
    vae = config["vae"]
    # Both lists are stored from the image to the latent.
    depths = iter([0, 0, 0, 1, 0])
    for name, parameters in vae["encoder_blocks"]:
        parameters.update({"num_layers": next(depths)} if name == "res_x" else {"multiplier": 1})
    depths = iter([2, 2, 1, 0])
    for name, parameters in vae["decoder_blocks"]:
        if name == "res_x":
            parameters["num_layers"] = next(depths)
    vae["decoder_base_channels"] = 16
    config["audio_vae"]["model"]["params"]["ddconfig"].update(ch=16, num_res_blocks=1)
    config["vocoder"]["upsample_initial_channel"] = 128
    return result | {"model_version": "2.0.0"}


def without_statistics(parts):
    """Sets the latent statistics of autoencoder `parts` to mean 0 and deviation 1."""
    for part in parts:
        part.per_channel_statistics.get_buffer("std-of-means").fill_(1)
        part.per_channel_statistics.get_buffer("mean-of-means").zero_()
    return parts


def video_vae():
    """Returns encoder and decoder of the video VAE."""
    from ltx_core.model.video_vae import VideoDecoderConfigurator, VideoEncoderConfigurator

    config = specification()["config"]
    return without_statistics([c.from_config(config) for c in (VideoEncoderConfigurator, VideoDecoderConfigurator)])


def audio_vae():
    """Returns encoder and decoder of the audio VAE. Their statistics have 8 channels x 16 mel bins entries."""
    from ltx_core.model.audio_vae import AudioDecoderConfigurator, AudioEncoderConfigurator, ops
    from ltx_core.model.audio_vae import audio_vae as module

    module.PerChannelStatistics = lambda latent_channels: ops.PerChannelStatistics(latent_channels=128)
    config = specification()["config"]
    return without_statistics([c.from_config(config) for c in (AudioEncoderConfigurator, AudioDecoderConfigurator)])


def vocoder():
    """Returns the vocoder."""
    from ltx_core.model.audio_vae import VocoderConfigurator

    return VocoderConfigurator.from_config(specification()["config"])


def correct_cross_attention() -> None:
    """Gives ltx-core 1.0.0 the audio-video cross attention of 1.2.0.

    Scale and shift follow the timesteps of each modality's own tokens, not the other modality's sigma.
    """
    from ltx_core.model.transformer.transformer_args import MultiModalTransformerArgsPreprocessor as Preprocessor

    prepare = Preprocessor.prepare

    def corrected(self, modality, cross_modality=None):
        args = prepare(self, modality, cross_modality)
        if cross_modality is None:
            return args
        scaled = modality.timesteps * self.simple_preprocessor.timestep_scale_multiplier
        own, _ = self.cross_scale_shift_adaln(scaled.flatten(), hidden_dtype=modality.latent.dtype)
        return replace(args, cross_scale_shift_timestep=own.view(args.x.shape[0], -1, own.shape[-1]))

    Preprocessor.prepare = corrected
