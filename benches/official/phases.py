"""The official side of each phase of `ltx2 bench`, as the official pipelines run it."""
import importlib.util
import sys
import types
from dataclasses import dataclass
from typing import Callable

import torch

from . import modules

TEXT_TOKENS = 1024


@dataclass(frozen=True)
class Job:
    """One phase at one shape."""

    source: object
    device: torch.device
    dtype: torch.dtype
    width: int
    height: int
    frames: int
    rate: float
    steps: int
    prompt_tokens: int


@dataclass
class Work:
    """A function to time, and values to check."""

    run: Callable
    # Numbers of video and audio tokens.
    tokens: tuple | None = None


class Missing(type):
    """Metaclass whose classes have every attribute, which is the class itself. Sufficient for annotations."""

    def __getattr__(cls, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return cls


def import_pipelines() -> None:
    """Imports ltx_pipelines, whose samplers import PyAV. If PyAV is missing, a stub module replaces it during this import only:
    nothing here calls it, and other packages must not detect it."""
    import ltx_core.text_encoders.gemma  # noqa: F401  (imports transformers before the stub is installed)

    missing = importlib.util.find_spec("av") is None
    if missing:
        sys.modules["av"] = types.ModuleType("av")
        sys.modules["av"].__getattr__ = lambda name: getattr(Missing("Missing", (), {}), name)
    try:
        import ltx_pipelines.utils  # noqa: F401
    finally:
        if missing:
            del sys.modules["av"]


def latents(job: Job) -> tuple:
    """Returns states of random video and audio tokens and their tools, created as in the pipelines."""
    from ltx_core.components.noisers import GaussianNoiser
    from ltx_core.components.patchifiers import AudioPatchifier, VideoLatentPatchifier
    from ltx_core.tools import AudioLatentTools, VideoLatentTools
    from ltx_core.types import AudioLatentShape, VideoLatentShape, VideoPixelShape
    from ltx_pipelines.utils.helpers import create_noised_state

    shape = VideoPixelShape(batch=1, frames=job.frames, width=job.width, height=job.height, fps=job.rate)
    noiser = GaussianNoiser(generator=torch.Generator(device=job.device).manual_seed(0))
    tools = (VideoLatentTools(VideoLatentPatchifier(patch_size=1), VideoLatentShape.from_pixel_shape(shape), job.rate),
             AudioLatentTools(AudioPatchifier(patch_size=1), AudioLatentShape.from_video_pixel_shape(shape)))
    return tuple((create_noised_state(one, [], noiser, job.dtype, job.device), one) for one in tools)


def contexts(job: Job) -> tuple:
    """Returns random text contexts for video and audio."""
    t = job.source.config["transformer"]
    widths = [t["caption_channels"]] * 2
    if t.get("caption_proj_before_connector", False):
        widths = [t["num_attention_heads"] * t["attention_head_dim"], t["audio_num_attention_heads"] * t["audio_attention_head_dim"]]
    return tuple(torch.randn(1, TEXT_TOKENS, width, device=job.device, dtype=job.dtype) for width in widths)


def guidance(job: Job):
    from ltx_core.components.guiders import MultiModalGuiderParams

    t = job.source.config["transformer"]
    block = (28 if t.get("caption_proj_before_connector", False) else 29) * t["num_layers"] // 48
    return MultiModalGuiderParams(cfg_scale=3.0, stg_scale=1.0, stg_blocks=[block], modality_scale=3.0, rescale_scale=0.7)


def sampling(built, job: Job, guided: bool, sigmas: torch.Tensor) -> Work:
    from ltx_core.batch_split import BatchSplitAdapter
    from ltx_core.components.diffusion_steps import EulerDiffusionStep
    from ltx_core.components.guiders import create_multimodal_guider_factory
    from ltx_pipelines.utils.denoisers import FactoryGuidedDenoiser, SimpleDenoiser
    from ltx_pipelines.utils.samplers import euler_denoising_loop

    # One pass at a time, which is the pipelines' default.
    transformer = BatchSplitAdapter(built.modules["transformer"], max_batch_size=1)
    (video, _), (audio, _) = latents(job)
    both = contexts(job)
    sigmas = sigmas.to(job.device, torch.float32)
    if guided:
        factories = [create_multimodal_guider_factory(params=guidance(job), negative_context=torch.randn_like(context)) for context in both]

        def denoiser():
            return FactoryGuidedDenoiser(*both, *factories)
    else:
        def denoiser():
            return SimpleDenoiser(*both)

    def run():
        euler_denoising_loop(sigmas, video, audio, EulerDiffusionStep(), transformer, denoiser())
    return Work(run, (video.latent.shape[1], audio.latent.shape[1]))


def schedule(steps: int) -> torch.Tensor:
    from ltx_core.components.schedulers import LTX2Scheduler

    return LTX2Scheduler().execute(steps=steps)


def one_step(guided: bool):
    return lambda built, job: sampling(built, job, guided, schedule(max(job.steps, 2))[:2])


def all_steps(guided: bool):
    return lambda built, job: sampling(built, job, guided, schedule(job.steps))


def distilled(name: str):
    def prepare(built, job: Job) -> Work:
        from ltx_pipelines.utils import constants

        return sampling(built, job, False, torch.tensor(getattr(constants, name)))
    return prepare


def encode_prompt(built, job: Job) -> Work:
    encoder, processor = built.modules["encoder"], built.modules["processor"]
    # The pipelines' tokenizer pads on the left, to 1024.
    ids = torch.zeros(1, TEXT_TOKENS, dtype=torch.long, device=job.device)
    count = min(max(job.prompt_tokens, 1), TEXT_TOKENS)
    ids[0, -count:] = torch.arange(count, device=job.device) % 1000
    mask = torch.zeros_like(ids)
    mask[0, -count:] = 1

    def run():
        # Same calls as in LTXGemmaTextEncoder.encode.
        hidden = encoder.model.model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        processor.process_hidden_states(hidden, mask)
    return Work(run)


def decode_video(tiled: bool):
    def prepare(built, job: Job) -> Work:
        from ltx_core.tiling import TileSizeConfig
        from ltx_core.types import VIDEO_SCALE_FACTORS
        from ltx_pipelines.utils import helpers

        (state, tools), _ = latents(job)
        latent, tiling = tools.unpatchify(state).latent, None
        if tiled:
            # As for AUTO_TILING.
            tiling = TileSizeConfig.from_long_side(long_side=helpers._CONV_AUTO_LONG_SIDE, height=job.height, width=job.width,
                                                   scale_factors=VIDEO_SCALE_FACTORS, frames=helpers._CONV_AUTO_FRAMES)

        def run():
            for frames in built.modules["decoder"].decode_video(latent, tiling):
                (frames * 255).to(torch.uint8).cpu()
        return Work(run)
    return prepare


def decode_audio(built, job: Job) -> Work:
    from ltx_core.model.audio_vae import decode_audio as decode

    _, (state, tools) = latents(job)
    latent = tools.unpatchify(state).latent
    return Work(lambda: decode(latent, built.modules["decoder"], built.modules["vocoder"]))


# Builder of each phase's modules, and the function that prepares its Work from the modules and a Job.
OFFICIAL = {
    "encode-prompt": (modules.prompt_encoder, encode_prompt),
    "forward": (modules.transformer, one_step(False)),
    "guided-step": (modules.transformer, one_step(True)),
    "distilled-stage-1": (modules.transformer, distilled("DISTILLED_SIGMA_VALUES")),
    "distilled-stage-2": (modules.transformer, distilled("STAGE_2_DISTILLED_SIGMA_VALUES")),
    "denoise": (modules.transformer, all_steps(True)),
    "denoise-unguided": (modules.transformer, all_steps(False)),
    "decode-video": (modules.video_decoder, decode_video(False)),
    "decode-video-tiled": (modules.video_decoder, decode_video(True)),
    "decode-audio": (modules.audio_decoder, decode_audio),
}
