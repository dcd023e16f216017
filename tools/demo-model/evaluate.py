"""Generates videos of held-out prompts with the ltx2 binary and measures whether they show and sound what the prompts say.

    LTX2=target/release/ltx2 python evaluate.py --models DIR [--n 48] [--width 128] [--height 128] [--image] [--sheet OUT.png]

The scenes have combinations of shape, colour, background and motion that no training clip has. With --image the drawn
first frame is given (with the server's default CRF) and the PSNR of the video's first frame is measured. Guidance is the
server's default; --off turns it off.
"""

import argparse
import os
import random
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import measure
import world

BINARY = os.environ.get("LTX2", "ltx2")
OFF = [f"--{option}-{m}={v}" for m in ("video", "audio") for option, v in (("cfg", 1), ("stg", 0), ("modality", 1))]


def scenes(count: int) -> list:
    """Returns held-out scenes with captions that name every attribute."""
    rng = random.Random(2026)
    result = []
    for i in range(count):
        want = {k: world.ATTRIBUTES[k][j % len(world.ATTRIBUTES[k])] for k, j in (("motion", i), ("sound", i))}
        want["shape"] = world.ATTRIBUTES["shape"][(i + i // 8) % 4]
        while True:
            scene = world.random_scene(rng) | want
            if world.is_held_out(scene):
                break
        result.append((scene, world.caption(scene, rng, drop=False)))
    return result


def to_image(clip):
    """Returns the first frame of [1, 3, F, H, W] as an image."""
    return Image.fromarray(((clip[0, :, 0].permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8))


def psnr(a, b) -> float:
    return float(10 * np.log10(255**2 / max(((a.astype(float) - b.astype(float)) ** 2).mean(), 1e-9)))


class Evaluation:
    """One run over the prompts: counts, PSNR values, times and rows of the contact sheet."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.right, self.psnr, self.seconds, self.rows = {}, [], [], []

    def run(self, i: int, scene: dict, text: str, folder: Path) -> None:
        a = self.arguments
        out = folder / "video.mp4"
        size = [f"--width={a.width}", f"--height={a.height}", f"--frames={a.frames}", f"--steps={a.steps}"]
        command = [
            BINARY,
            "generate",
            "--models",
            a.models,
            "--prompt",
            text,
            f"--seed={100 + i}",
            "--out",
            str(out),
            *size,
        ]
        command += OFF if a.off else []
        if a.image:
            image = to_image(world.draw([scene], a.frames, a.height, a.width, random.Random(i))[0])
            image.save(folder / "first.png")
            command += ["--image", str(folder / "first.png")]
        start = time.time()
        subprocess.run(command, check=True, capture_output=True)
        self.seconds.append(time.time() - start)
        frames, samples, rate = measure.read(out)
        found = measure.look(frames) | {"sound": measure.listen(samples, rate)}
        if a.image:
            self.psnr.append(psnr(frames[0], np.asarray(image)))
        if scene["motion"] in ("grow", "shrink"):
            del found["size"]
        for key, value in found.items():
            self.right.setdefault(key, []).append(value == scene[key])
        wrong = [f"{key}: {value}" for key, value in found.items() if value != scene[key]]
        print(i, text, "| WRONG " + ", ".join(wrong) if wrong else "| ok", flush=True)
        strip = np.concatenate([frames[j] for j in np.linspace(0, len(frames) - 1, 6).astype(int)], 1)
        self.rows.append((text, strip, wrong))

    def write_sheet(self, path: str) -> None:
        height, width = self.rows[0][1].shape[:2]
        height += 14
        sheet = Image.new("RGB", (width * 2 + 8, height * ((len(self.rows) + 1) // 2)), "white")
        draw = ImageDraw.Draw(sheet)
        for i, (text, strip, wrong) in enumerate(self.rows):
            x, y = (i % 2) * (width + 8), (i // 2) * height
            note = "   [" + ", ".join(wrong) + "]" if wrong else ""
            draw.text((x + 2, y + 1), text + note, fill="red" if wrong else "black")
            sheet.paste(Image.fromarray(strip), (x, y + 14))
        sheet.save(path)

    def report(self) -> str:
        counts = ", ".join(f"{key} {sum(values)}/{len(values)}" for key, values in self.right.items())
        if self.psnr:
            counts += f", first frame PSNR min {min(self.psnr):.1f} median {np.median(self.psnr):.1f} dB"
        a = self.arguments
        return f"{a.width}x{a.height}: {counts}; median {np.median(self.seconds):.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", required=True)
    parser.add_argument("--n", type=int, default=48)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--height", type=int, default=128)
    parser.add_argument("--frames", type=int, default=25)
    parser.add_argument("--off", action="store_true")
    parser.add_argument("--image", action="store_true")
    parser.add_argument("--sheet")
    arguments = parser.parse_args()
    evaluation = Evaluation(arguments)
    with tempfile.TemporaryDirectory() as folder:
        for i, (scene, text) in enumerate(scenes(arguments.n)):
            evaluation.run(i, scene, text, Path(folder))
    if arguments.sheet:
        evaluation.write_sheet(arguments.sheet)
    print(evaluation.report())


if __name__ == "__main__":
    main()
