"""diffusers' transformer and video decoder, with the same weights and inputs as the official modules."""
import sys

import torch

from . import phases
from .modules import Built, Filler
from .weights import ROOT

sys.path.insert(0, str(ROOT / "scripts"))


def filled(source, device, dtype, belongs, kind, arguments: dict, renamed) -> Built:
    fill = Filler(source, device, dtype, belongs)
    theirs = renamed({name: name for name in fill.declared})
    with torch.device("meta"):
        model = kind(**arguments)
    fill(model, lambda key: theirs[key])
    return fill.built({"model": model.to(device).eval()})


def transformer(source, device, dtype) -> Built:
    import make_diffusers_model as folders

    def belongs(name: str) -> bool:
        return name.startswith("model.diffusion_model.") and "embeddings_connector" not in name
    return filled(source, device, dtype, belongs, *folders.transformer(source.config["transformer"]), folders.transformer_names)


def autoencoder(source, device, dtype) -> Built:
    import make_diffusers_model as folders

    return filled(source, device, dtype, lambda name: name.startswith("vae."), *folders.vae(source.config["vae"]), folders.vae_names)


def forward(built, job) -> phases.Work:
    """Calls the transformer as LTX2Pipeline does: one timestep for all tokens, and an attention mask for the text."""
    model = built.modules["model"]
    (video, video_tools), (audio, _) = phases.latents(job)
    video_context, audio_context = phases.contexts(job)
    shape, frames = video_tools.target_shape, audio.latent.shape[1]
    coordinates = model.rope.prepare_video_coords(1, shape.frames, shape.height, shape.width, job.device, fps=job.rate)
    audio_coordinates = model.audio_rope.prepare_audio_coords(1, frames, job.device)
    time = torch.full((1,), 1000.0, device=job.device)
    mask = torch.ones(1, phases.TEXT_TOKENS, dtype=torch.long, device=job.device)

    def run():
        model(hidden_states=video.latent, audio_hidden_states=audio.latent, encoder_hidden_states=video_context,
              audio_encoder_hidden_states=audio_context, timestep=time, sigma=time, encoder_attention_mask=mask,
              audio_encoder_attention_mask=mask, num_frames=shape.frames, height=shape.height, width=shape.width, fps=job.rate,
              audio_num_frames=frames, video_coords=coordinates, audio_coords=audio_coordinates, return_dict=False)
    return phases.Work(run, (video.latent.shape[1], frames))


def decode_video(built, job) -> phases.Work:
    (state, tools), _ = phases.latents(job)
    latent, model = tools.unpatchify(state).latent, built.modules["model"]

    def run():
        pixels = model.decode(latent, return_dict=False)[0]
        ((pixels + 1) / 2).clamp(0, 1).mul(255).to(torch.uint8).cpu()
    return phases.Work(run)


DIFFUSERS = {"forward": (transformer, forward), "decode-video": (autoencoder, decode_video)}
