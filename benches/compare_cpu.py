#!/usr/bin/env python3
"""Time ltx2 and the official code on the demo model on a CPU, as whole processes.

    ~/.ref/bin/python benches/compare_cpu.py [--ltx2 target/release/ltx2] [--runs 3] [--out benches/results/cpu-NAME.json]

All commands do the same work: 384x256, 25 frames, 8 steps, full guidance, float32. `reference` is the official pipeline, which
also records every tensor; `trace` is ltx2 doing the same with the reference's noise; `generate` is ltx2 from the prompt to the
MP4. Runs are interleaved. The table shows medians and their ratios to the reference.
"""
import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHAPE = {"width": "384", "height": "256", "frames": "25", "steps": "8"}
PROMPT = "A red fox runs through fresh snow between dark pines, its paws crunching softly."


def measure(command: list) -> tuple:
    """Returns the seconds and the peak memory in MB of a process."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    if status != 0:
        sys.exit(f"{command[:3]} failed: {error.decode()[-2000:]}")
    return seconds, usage.ru_maxrss / 1024


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("--ltx2", default=str(ROOT / "target/release/ltx2"))
    args.add_argument("--runs", type=int, default=3)
    args.add_argument("--out", type=Path)
    a = args.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        tmp = Path(temporary)
        models, reference = str(tmp / "models"), str(tmp / "reference.safetensors")
        subprocess.run([a.ltx2, "demo-model", "--synthetic", models], check=True, stdout=subprocess.DEVNULL)
        ours = [a.ltx2, "{}", "--models", models, "--device", "cpu", "--dtype", "f32"]
        commands = {
            "reference": [sys.executable, str(ROOT / "scripts/reference/run_reference.py"), models, reference,
                          "--width", SHAPE["width"], "--height", SHAPE["height"], "--num-frames", SHAPE["frames"],
                          "--steps", SHAPE["steps"], "--prompt", PROMPT],
            "trace": [*ours, "--like", reference, "--out", str(tmp / "ours.safetensors")],
            "generate": [*ours, "--prompt", PROMPT, "--width", SHAPE["width"], "--height", SHAPE["height"], "--frames",
                         SHAPE["frames"], "--rate", "24", "--steps", SHAPE["steps"], "--pipeline", "one-stage", "--out", str(tmp / "ours.mp4")],
        }
        for name in ("trace", "generate"):
            commands[name][1] = name
        samples = {name: [] for name in commands}
        for _ in range(a.runs):
            for name, command in commands.items():
                samples[name].append(measure(command))
    rows = {}
    for name, runs in samples.items():
        seconds, peak = (statistics.median(values) for values in zip(*runs))
        rows[name] = {"seconds": round(seconds, 3), "peak_mb": round(peak, 1), "runs": [round(s, 3) for s, _ in runs]}
    for row in rows.values():
        row["time_ratio"] = round(row["seconds"] / rows["reference"]["seconds"], 3)
        row["memory_ratio"] = round(row["peak_mb"] / rows["reference"]["peak_mb"], 3)
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    result = {"what": "whole processes, demo model, " + json.dumps(SHAPE), "commit": git, "cores": os.cpu_count(),
              "machine": platform.machine(), "date": datetime.date.today().isoformat(), "rows": rows}
    print(f"{'':10} {'seconds':>8} {'ratio':>6} {'peak MB':>8} {'ratio':>6}")
    for name, row in rows.items():
        print(f"{name:10} {row['seconds']:8.2f} {row['time_ratio']:6.2f} {row['peak_mb']:8.0f} {row['memory_ratio']:6.2f}")
    if a.out:
        a.out.parent.mkdir(parents=True, exist_ok=True)
        a.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
