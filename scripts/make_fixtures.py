#!/usr/bin/env python3
"""Recreate the reference traces in crates/ltx2-pipeline/tests/fixtures with the official LTX-2 code.

    python3 -m venv ~/.ref && ~/.ref/bin/pip install -r scripts/reference/requirements.txt
    ~/.ref/bin/python scripts/make_fixtures.py [--keep DIR] [CASE ...]

The fixtures are of version 1.2.0. The scripts in scripts/reference also run with 1.0.0, which computes other results.

Each case creates a small checkpoint with synthetic weights, runs an official pipeline on it in float32 and records its tensors.
The metadata has the checkpoint's seed and configuration, from which the weights can be recreated. --keep leaves model sets and
full traces in DIR, for `ltx2 trace` and scripts/reference/compare.py.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parent / "crates" / "ltx2-pipeline" / "tests" / "fixtures"

# model: options of make_checkpoint.py (with only --seed and --base: the demo model, with its LoRA and upscaler);
# script: the script to run, by default run_reference.py; transformer: changes to that section of the configuration;
# run: options of run_reference.py; request: changes to the recorded request; drop: prefixes of tensor names that the fixture omits to stay small.
SMALL = ["context.", "tokens.", "pixels", "step.", "res2s."]
V23 = ["--base", "ltx-2.3-22b"]
# One run in bfloat16, and in float32 with the same noise: their distance sets the limit of ours.
BF16 = ["--height", "64", "--width", "128", "--num-frames", "9", "--steps", "3"]
CASES = {
    "text": {
        "model": [],
        "run": ["--height", "64", "--width", "96", "--num-frames", "9", "--steps", "3"],
        "drop": [],
    },
    "image": {
        "model": ["--seed", "3", "--heads", "4", "--head-dim", "16", "--layers", "2"],
        "run": ["--height", "96", "--width", "64", "--num-frames", "17", "--frame-rate", "23.976", "--steps", "2",
                "--image", "image.png:0:0.8", "--rescale", "0", "--stg", "0", "--seed", "7", "--prompt",
                'She says: "Ça va? 你好, мир!" 🦊🎬 — and laughs.', "--negative-prompt", "шум; 噪音"],
        "drop": ["context.", "pixels"],
    },
    "interleaved": {
        "model": ["--seed", "5", "--heads", "2", "--head-dim", "20", "--layers", "4"],
        "transformer": {"rope_type": "interleaved"},
        "run": ["--height", "64", "--width", "64", "--num-frames", "9", "--frame-rate", "30", "--steps", "2",
                "--cfg-video", "1", "--modality", "1", "--prompt", "", "--negative-prompt", "no noise, " * 400],
        "drop": ["context.audio", "context.video.positive", "pixels"],
    },
    "unguided": {
        "model": ["--seed", "9", "--heads", "1", "--head-dim", "48", "--layers", "1"],
        "run": ["--height", "64", "--width", "64", "--num-frames", "17", "--steps", "4", "--stg-block", "0",
                "--cfg-video", "1", "--cfg-audio", "1", "--modality", "1", "--stg", "0", "--rescale", "0",
                "--image", "image.png:0:1.0", "--image", "image.png:8:0.5"],
        "drop": ["context.", "pixels", "tokens."],
    },
    "bf16": {
        "model": ["--seed", "10"],
        "run": ["--dtype", "bf16", *BF16],
        "drop": SMALL,
    },
    "bf16_in_f32": {
        "model": ["--seed", "10"],
        "run": ["--noise-dtype", "bf16", *BF16],
        "drop": SMALL,
    },
    "lora": {
        "model": ["--seed", "11"],
        "run": ["--lora", "--height", "64", "--width", "64", "--num-frames", "9", "--steps", "2"],
        "drop": SMALL,
    },
    "loras": {
        "model": ["--seed", "18"],
        "run": ["--lora", "--more-loras", "0.5", "-0.3", "--height", "64", "--width", "64", "--num-frames", "9", "--steps", "2"],
        "drop": SMALL,
    },
    "two_stage": {
        "model": ["--seed", "12"],
        "run": ["--pipeline", "two-stage", "--height", "64", "--width", "128", "--num-frames", "9", "--steps", "2",
                "--image", "image.png:0:0.9"],
        "drop": SMALL,
    },
    "distilled": {
        "model": ["--seed", "13"],
        "run": ["--pipeline", "distilled", "--lora", "--height", "128", "--width", "64", "--num-frames", "9"],
        "drop": SMALL,
    },
    "tiled": {
        "model": ["--seed", "15"],
        "run": ["--pipeline", "distilled", "--height", "64", "--width", "128", "--num-frames", "25", "--tile-pixels", "64:32",
                "--tile-frames", "16:8"],
        "drop": SMALL,
    },
    "gradient_estimation": {
        "model": ["--seed", "16"],
        "script": "run_gradient_estimation.py",
        "run": ["--height", "64", "--width", "64", "--num-frames", "9", "--steps", "5"],
        "drop": SMALL,
    },
    "hq": {
        "model": ["--seed", "17"],
        "run": ["--pipeline", "hq", "--height", "64", "--width", "64", "--num-frames", "9", "--steps", "6", "--stg", "0",
                "--rescale", "0.45", "--image", "image.png:0:0.9"],
        "drop": SMALL,
    },
    "v23_text": {
        "model": ["--seed", "20", *V23],
        "run": ["--height", "64", "--width", "96", "--num-frames", "17", "--steps", "3", "--frame-rate", "29.97"],
        "drop": ["context.video.negative", "context.audio.negative", "pixels"],
    },
    "v23_heads": {
        "model": ["--seed", "21", *V23, "--heads", "4", "--head-dim", "16", "--layers", "2"],
        "run": ["--height", "96", "--width", "64", "--num-frames", "9", "--steps", "2", "--image", "image.png:0:0.8",
                "--prompt", "", "--negative-prompt", "no noise, " * 400],
        "drop": SMALL,
    },
    "v23_lora": {
        "model": ["--seed", "22", *V23],
        "run": ["--lora", "--height", "64", "--width", "64", "--num-frames", "9", "--steps", "2"],
        "drop": SMALL,
    },
    "v23_loras": {
        "model": ["--seed", "27", *V23],
        "run": ["--pipeline", "distilled", "--lora", "--more-loras", "0.5", "-0.3", "--height", "64", "--width", "64",
                "--num-frames", "9", "--image", "image.png:0:0.7"],
        "drop": SMALL,
    },
    "v23_two_stage": {
        "model": ["--seed", "23", *V23],
        "run": ["--pipeline", "two-stage", "--height", "64", "--width", "128", "--num-frames", "9", "--steps", "2",
                "--image", "image.png:0:0.9"],
        "drop": SMALL,
    },
    "v23_bf16": {
        "model": ["--seed", "28", *V23],
        "run": ["--dtype", "bf16", *BF16],
        "drop": SMALL,
    },
    "v23_bf16_in_f32": {
        "model": ["--seed", "28", *V23],
        "run": ["--noise-dtype", "bf16", *BF16],
        "drop": SMALL,
    },
    "v23_tiled": {
        "model": ["--seed", "24", *V23],
        "run": ["--pipeline", "distilled", "--lora", "--height", "64", "--width", "128", "--num-frames", "25",
                "--tile-pixels", "64:32", "--tile-frames", "16:8"],
        "drop": SMALL,
    },
    "v23_keyframes": {
        "model": ["--seed", "25", *V23],
        "run": ["--pipeline", "keyframes", "--height", "64", "--width", "64", "--num-frames", "9", "--steps", "2",
                "--image", "image.png:0:1.0", "--image", "image.png:8:0.8"],
        "drop": SMALL,
    },
    "v23_hq": {
        "model": ["--seed", "26", *V23],
        "run": ["--pipeline", "hq", "--height", "64", "--width", "64", "--num-frames", "9", "--steps", "6", "--stg", "0",
                "--rescale", "0.45"],
        "drop": SMALL,
    },
    "retake": {
        "model": ["--seed", "30"],
        "run": ["--pipeline", "retake", "--video", "source.mov", "--window", "0.2:0.5", "--steps", "2"],
        "drop": SMALL,
    },
    "retake_video": {
        "model": ["--seed", "31"],
        "run": ["--pipeline", "retake", "--video", "source.mov", "--window", "0.1:0.3", "--keep-audio", "--steps", "2"],
        "drop": SMALL,
    },
    # An extension of the first 9 frames: a retake of the padded clip, with a window over the padding.
    "extend": {
        "model": ["--seed", "36"],
        "run": ["--pipeline", "retake", "--video", "padded.mov", "--window", "0.3958:1", "--steps", "2"],
        "request": {"pipeline": "extend", "video": "source.mov", "num_frames": 8},
        "drop": [*SMALL, "source.video", "waveform"],
    },
    "v23_extend": {
        "model": ["--seed", "37", *V23],
        "run": ["--pipeline", "retake", "--video", "padded.mov", "--window", "0.3958:1", "--steps", "2"],
        "request": {"pipeline": "extend", "video": "source.mov", "num_frames": 8},
        "drop": [*SMALL, "source.video", "waveform"],
    },
    "a2v": {
        "model": ["--seed", "32"],
        "run": ["--pipeline", "a2v", "--audio", "source.mov", "--height", "64", "--width", "64", "--steps", "2",
                "--frame-rate", str(17 / 0.75), "--image", "image.png:0:0.9"],
        "drop": [*SMALL, "waveform"],
    },
    "v23_retake": {
        "model": ["--seed", "33", *V23],
        "run": ["--pipeline", "retake", "--video", "source.mov", "--window", "0:0.3", "--steps", "2"],
        "drop": SMALL,
    },
    "v23_retake_audio": {
        "model": ["--seed", "34", *V23],
        "run": ["--pipeline", "retake", "--video", "source.mov", "--window", "0.3:0.6", "--keep-video", "--steps", "2"],
        "drop": SMALL,
    },
    "v23_a2v": {
        "model": ["--seed", "35", *V23],
        "run": ["--pipeline", "a2v", "--audio", "source.mov", "--height", "64", "--width", "64", "--num-frames", "9",
                "--steps", "2", "--frame-rate", "12"],
        "drop": [*SMALL, "waveform"],
    },
    "keyframes": {
        "model": ["--seed", "14"],
        "run": ["--pipeline", "keyframes", "--height", "64", "--width", "64", "--num-frames", "17", "--steps", "2",
                "--frame-rate", "12.5", "--image", "image.png:0:1.0", "--image", "image.png:16:0.8"],
        "drop": SMALL,
    },
}


def make_model(case: dict, out: Path) -> dict:
    """Write the model set and return the checkpoint's configuration."""
    sys.path.insert(0, str(HERE / "reference"))
    import make_checkpoint
    import tiny
    from safetensors import safe_open

    shrink = tiny.tiny

    def changed(*args, **kwargs):
        spec = shrink(*args, **kwargs)
        spec["config"]["transformer"].update(case.get("transformer", {}))
        return spec

    make_checkpoint.tiny.tiny = changed
    sys.argv = ["make_checkpoint.py", str(out), *case["model"]]
    make_checkpoint.main()
    if "--more-loras" in case["run"]:
        write_float32_lora(out)
    with safe_open(out / "ltx.safetensors", "pt") as file:
        return file.metadata()


def write_float32_lora(models: Path) -> None:
    """Write loras/lora_f32.safetensors: distilled_lora.safetensors in float32, times 1.1, which bfloat16 does not represent exactly."""
    from safetensors.torch import load_file, save_file

    scaled = {name: value.float() * 1.1 for name, value in load_file(models / "distilled_lora.safetensors").items()}
    (models / "loras").mkdir(exist_ok=True)
    save_file(scaled, models / "loras/lora_f32.safetensors")


def write_source(path: Path) -> None:
    """Write 17 lossless frames of 64x64 at 24 per second with 0.75 s of 16-bit stereo at 48 kHz.

    `tests/common/source.rs` of ltx2-pipeline computes the same frames and samples.
    """
    import av
    import numpy as np

    with av.open(str(path), "w") as file:
        video, audio = file.add_stream("qtrle", rate=24), file.add_stream("pcm_s16le", rate=48000, layout="stereo")
        video.width, video.height, video.pix_fmt = 64, 64, "rgb24"
        for frame in source_frames():
            file.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        i = np.arange(36000)
        samples = np.stack([i * 37 % 20000 - 10000, i * 53 % 20000 - 10000], axis=1).astype(np.int16)
        sound = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="stereo")
        sound.sample_rate = 48000
        file.mux(audio.encode(sound))
        for stream in (video, audio):
            file.mux(stream.encode(None))


def write_padded(path: Path) -> None:
    """Write the first 9 frames of `write_source`, then 8 grey ones, without audio."""
    import av
    import numpy as np

    with av.open(str(path), "w") as file:
        video = file.add_stream("qtrle", rate=24)
        video.width, video.height, video.pix_fmt = 64, 64, "rgb24"
        for frame in [*source_frames()[:9], *np.full((8, 64, 64, 3), 128, np.uint8)]:
            file.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(video.encode(None))


def source_frames():
    import numpy as np

    t, y, x, c = np.ogrid[:17, :64, :64, :3]
    return np.ascontiguousarray(((7 * t + 3 * x + 2 * y + 50 * c) % 256).astype(np.uint8))


def slim(trace: Path, out: Path, case: dict, model: dict) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(trace, "pt") as file:
        kept = {name: file.get_tensor(name) for name in file.keys() if not name.startswith(tuple(case["drop"]))}
        metadata = file.metadata()
    metadata["request"] = json.dumps({**json.loads(metadata["request"]), **case.get("request", {})})
    options = dict(zip(case["model"][::2], case["model"][1::2]))
    kind = "demo" if options.keys() <= {"--seed", "--base"} else "synthetic"
    weights = {"weights": kind, "weights_seed": options.get("--seed", "0"), "weights_base": options.get("--base", "ltx-2-19b")}
    save_file(kept, out, metadata={**metadata, **model, **weights})


def run_case(name: str, keep: Path) -> None:
    model, trace = keep / name, keep / f"{name}.safetensors"
    metadata = make_model(CASES[name], model)
    script = HERE / "reference" / CASES[name].get("script", "run_reference.py")
    command = [sys.executable, str(script), str(model), str(trace), *CASES[name]["run"]]
    shutil.copy(FIXTURES / "image.png", keep)
    write_source(keep / "source.mov")
    write_padded(keep / "padded.mov")
    subprocess.run(command, cwd=keep, check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    slim(trace, FIXTURES / f"{name}.safetensors", CASES[name], metadata)


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("cases", nargs="*", default=[])
    args.add_argument("--keep", type=Path)
    args.add_argument("--one", help=argparse.SUPPRESS)
    a = args.parse_args()
    if a.one:  # one process per case: the official code is patched for one Gemma
        run_case(a.one, a.keep)
        return
    with tempfile.TemporaryDirectory() as temporary:
        keep = (a.keep or Path(temporary)).resolve()
        keep.mkdir(parents=True, exist_ok=True)
        for name in a.cases or CASES:
            subprocess.run([sys.executable, __file__, "--one", name, "--keep", str(keep)], check=True)


if __name__ == "__main__":
    main()
