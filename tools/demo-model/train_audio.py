"""Trains the audio VAE and the vocoder on drawn audio:   python train_audio.py vae|decoder|vocoder MINUTES

vae:     L1 of log-mel with fixed latent noise, as in the video VAE.
decoder: the same with the encoder frozen, so that encoded latents stay valid.
vocoder: L1 of the waveform, multi-resolution STFT and level, without an adversary (see world.audio), on spectrograms of
         the VAE. Each batch of decoder and vocoder has every kind of sound: with uneven shares, silence got a whistle.
"""

import math
import random
import sys
import time

import numpy as np
import torch

import architecture
import world

NOISE, PENALTY = 0.1, 1e-3
KINDS = world.ATTRIBUTES["sound"]
VAE_PATH, VOCODER_PATH = architecture.CHECKPOINTS / "audio_vae.pt", architecture.CHECKPOINTS / "vocoder.pt"


def random_track(rng: random.Random):
    """Returns the x track of an object that stands still or moves."""
    frames = rng.choice([17, 25, 25, 25, 33])
    a, b = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9)
    return np.full(frames, a) if rng.random() < 0.5 else np.linspace(a, b, frames)


def mel_of(waves):
    """Returns the log-mel [B, 2, T, 64] of [B, 2, samples] at 16 kHz, by ltx-core's front end."""
    from ltx_core.model.audio_vae.ops import AudioProcessor
    from ltx_core.types import Audio

    if not hasattr(mel_of, "processor"):
        mel_of.processor = AudioProcessor(target_sample_rate=16000, mel_bins=64, mel_hop_length=160, n_fft=1024)
    mel = mel_of.processor.waveform_to_mel(Audio(waveform=waves, sampling_rate=16000))
    return mel[:, :, : (mel.shape[2] - 1) // 4 * 4 + 1]


def encode(encoder, mel):
    """Returns the means of ltx-core's encoder before the statistics, with zeros in the channels not in use."""
    from ltx_core.model.audio_vae.audio_vae import run_mid_block

    h = encoder._run_downsampling_path(encoder.conv_in(mel))
    means = encoder._finalize_output(run_mid_block(encoder.mid, h)).chunk(2, 1)[0]
    active = means[:, : architecture.ACTIVE_AUDIO]
    return torch.cat([active, torch.zeros_like(means[:, architecture.ACTIVE_AUDIO :])], 1)


def load_vae():
    encoder, decoder = architecture.audio_vae()
    saved = torch.load(VAE_PATH)
    encoder.load_state_dict(saved["enc"])
    decoder.load_state_dict(saved["dec"])
    return encoder, decoder, saved["step"]


def falling(step: int, spent: float, minutes: float) -> float:
    """Returns the factor of the learning rate: warm-up, then a cosine."""
    return min(1, (step + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * spent / minutes)))


def train_vae(minutes: float, decoder_only: bool = False) -> None:
    rng = random.Random(time.time())
    encoder, decoder, step = load_vae() if VAE_PATH.exists() else (*architecture.audio_vae(), 0)
    encoder.requires_grad_(not decoder_only)
    parameters = [p for part in (encoder, decoder) for p in part.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=3e-3, betas=(0.9, 0.98), weight_decay=0.0)

    def save() -> None:
        torch.save({"enc": encoder.state_dict(), "dec": decoder.state_dict(), "step": step}, VAE_PATH)

    start, log = time.time(), []
    while (spent := (time.time() - start) / 60) < minutes:
        for group in optimizer.param_groups:
            group["lr"] = (2e-3 if decoder_only else 3e-3) * falling(step, spent, minutes)
        kinds = [*KINDS, rng.choice(KINDS)] if decoder_only else rng.choices(KINDS, k=6)
        mel = mel_of(torch.from_numpy(np.stack([world.audio(kind, random_track(rng), 1.0) for kind in kinds])))
        latents = encode(encoder, mel)
        decoded = decoder(latents + NOISE * torch.randn_like(latents))
        error = (decoded - mel[:, :, : decoded.shape[2]]).abs()
        l1, size = error.mean(), latents[:, : architecture.ACTIVE_AUDIO].pow(2).mean()
        loss = l1 + PENALTY * size
        if decoder_only:  # missing peaks, and peaks where there are none, count most
            loss = (error * (1 + 4 * (torch.maximum(decoded.detach(), mel[:, :, : decoded.shape[2]]) > -7))).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        log.append((l1.item(), size.item()))
        if step % 50 == 0:
            l1, size = np.mean(log, 0)
            print(f"audio vae {step} {spent:.1f} min l1 {l1:.4f} size {size:.3f}", flush=True)
            log = []
            save()
    save()


def stft_loss(predicted, expected):
    loss = 0
    for n in (256, 1024, 2048):
        window = torch.hann_window(n)
        a, b = (
            torch.stft(x.reshape(-1, x.shape[-1]), n, n // 4, n, window, return_complex=True).abs()
            for x in (predicted, expected)
        )
        loss = loss + (a - b).abs().mean() / n**0.5 * 4
        loss = loss + 0.15 * ((a + 1e-3).log() - (b + 1e-3).log()).abs().mean()
    return loss


def log_level(waves):
    return (waves.pow(2).mean(-1) + 1e-5).sqrt().log()


@torch.no_grad()
def initialise_vocoder(vocoder) -> None:
    """Scales each layer so that its output has deviation 1: with torch's initialisation the output is silent."""
    waves = np.stack([world.audio(kind, np.full(25, 0.5), 1.0) for kind in KINDS])
    mel = mel_of(torch.from_numpy(waves))
    for block in vocoder.resblocks:
        for conv in block.convs2:
            conv.weight.mul_(0.3)
    goals = [(vocoder.conv_pre, 1.0)] + [(up, 1.0) for up in vocoder.ups] + [(vocoder.conv_post, 0.2)]
    for conv, goal in goals:
        output = {}
        hook = conv.register_forward_hook(lambda module, inputs, out: output.update(deviation=out.std().item()))
        vocoder(mel)
        hook.remove()
        conv.weight.mul_(goal / output["deviation"])
        if conv.bias is not None:
            conv.bias.normal_(0, 0.1)


def vocoder_batch(rng: random.Random, encoder, decoder, window: int = 32):
    """Returns spectrograms of 32 frames, mostly decoded ones, and their waveforms at 24 kHz from the first frame on."""
    tracks = [random_track(rng) for _ in KINDS]
    low, full = (
        torch.from_numpy(np.stack([world.audio(kind, track, 1.0, rate) for kind, track in zip(KINDS, tracks)]))
        for rate in (16000, 24000)
    )
    with torch.no_grad():
        mel = mel_of(low)
        if rng.random() < 0.8:
            latents = encode(encoder, mel)
            mel = decoder(latents + NOISE * torch.randn_like(latents))
    first = rng.randint(0, mel.shape[2] - window)
    return mel[:, :, first : first + window], torch.nn.functional.pad(full, (0, 240 * 8))[..., first * 240 :]


def train_vocoder(minutes: float) -> None:
    rng = random.Random(time.time())
    encoder, decoder, _ = load_vae()
    vocoder = architecture.vocoder()
    groups = {}
    for p in vocoder.parameters():
        groups.setdefault(min(3e-3, 0.4 / (p[0].numel() if p.ndim > 1 else 1)), []).append(p)
    groups = [{"params": group, "lr": rate, "base": rate} for rate, group in groups.items()]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.98))
    step = 0
    if VOCODER_PATH.exists():
        saved = torch.load(VOCODER_PATH)
        vocoder.load_state_dict(saved["voc"])
        optimizer.load_state_dict(saved["opt"])
        step = saved["step"]
    else:
        initialise_vocoder(vocoder)

    def save() -> None:
        torch.save({"voc": vocoder.state_dict(), "opt": optimizer.state_dict(), "step": step}, VOCODER_PATH)

    start, log = time.time(), []
    while (spent := (time.time() - start) / 60) < minutes:
        for group in optimizer.param_groups:
            group["lr"] = group["base"] * falling(step, spent, minutes)
        mel, expected = vocoder_batch(rng, encoder, decoder)
        predicted = vocoder(mel)
        expected = expected[..., : predicted.shape[-1]]
        l1, stft = (predicted - expected).abs().mean(), stft_loss(predicted, expected)
        level = (log_level(predicted) - log_level(expected)).abs().mean()
        loss = 20 * (predicted - expected).pow(2).mean() + 2 * l1 + 0.5 * stft + 0.3 * level
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vocoder.parameters(), 1.0)
        optimizer.step()
        step += 1
        log.append((l1.item(), stft.item(), predicted[-1].detach().pow(2).mean().sqrt().item()))
        if step % 25 == 0:
            l1, stft, silence = np.mean(log, 0)
            print(f"vocoder {step} {spent:.1f} min l1 {l1:.4f} stft {stft:.3f} silence {silence:.4f}", flush=True)
            log = []
        if step % 100 == 0:
            save()
    save()


if __name__ == "__main__":
    torch.set_num_threads(1)
    part, minutes = sys.argv[1], float(sys.argv[2])
    if part == "vocoder":
        train_vocoder(minutes)
    else:
        train_vae(minutes, decoder_only=part == "decoder")
