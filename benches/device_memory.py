#!/usr/bin/env python3
"""Count the device memory of full-size requests, without a GPU.

    benches/device_memory.py --ltx2 target/release/ltx2 [--base ltx-2-19b] [--out benches/results/device-memory-NAME.json]

Each case starts `ltx2 serve`, built with --features cuda, on tools/cuda-emulator, which counts allocations and executes
nothing, with a model set of the published shapes, and sends its requests one after the other. The count covers what the program
allocates; fragmentation in the driver and the CUDA context (a few hundred MB) come on top. Memory does not depend on the number
of steps, so there are two. CUDA_HOME is the toolkit that ltx2 was built with.
"""
import argparse
import datetime
import json
import os
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import sparse_model

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"768x512": {"width": 768, "height": 512}, "1920x1088": {"width": 1920, "height": 1088}}
# Name, options of the model set, GiB of device memory, requests.
CASES = [
    ("one-stage, twice", {}, 141, [("one-stage", "768x512")] * 2),
    ("one-stage, twice, 48 GiB", {}, 48, [("one-stage", "768x512")] * 2),
    ("one-stage", {}, 141, [("one-stage", "1920x1088")]),
    ("one-stage, 48 GiB", {}, 48, [("one-stage", "1920x1088")]),
    ("two-stage, twice", {"two_stages": True}, 141, [("two-stage", "1920x1088")] * 2),
    ("two-stage, 48 GiB", {"two_stages": True}, 48, [("two-stage", "1920x1088")]),
    ("one-stage, 24 GiB", {}, 24, [("one-stage", "768x512")] * 2),
    ("two-stage, 16 GiB", {"two_stages": True}, 16, [("two-stage", "1920x1088")]),
    ("one-stage, float8, 32 GiB", {"float8": True}, 32, [("one-stage", "768x512")]),
]


def post(address: str, path: str, body: dict | None = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=3600) as response:
        return response.read()


def serve(ltx2: str, models: Path, folder: Path, gib: int) -> tuple:
    environment = {**os.environ, "LTX2_EMULATED_MODE": "count", "LTX2_EMULATED_MEMORY": str(gib),
                   "LTX2_EMULATED_REPORT": str(folder / "report-{pid}")}
    command = [ROOT / "scripts/emulate_cuda.sh", ltx2, "serve", "--models", models, "--data-dir", folder / "data", "--port", "0",
               "--device", "cuda", "--idle-timeout", "0"]
    log = folder / "log"
    process = subprocess.Popen(command, stdout=log.open("w"), stderr=subprocess.STDOUT, env=environment)
    for _ in range(600):
        found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
        if found:
            return process, found[0]
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"ltx2 serve did not start: {log.read_text()[-2000:]}")


def count_report(folder: Path) -> dict:
    """Returns the largest peak of all processes' phases, and the bytes copied to the device."""
    phases = [phase for path in folder.glob("report-*.json") for phase in json.loads(path.read_text())["phases"]]
    copied = sum(copy["bytes"] for phase in phases for copy in phase["copies"] if copy["name"] == "copy to the device")
    return {"peak_bytes": max(phase["peak"]["bytes"] for phase in phases), "copied_to_device_bytes": copied}


def run(ltx2: str, models: Path, gib: int, requests: list) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        process, address = serve(ltx2, models, Path(folder), gib)
        answers = []
        try:
            for number, (pipeline, size) in enumerate(requests):
                # Prompts differ, because the text encoder is not loaded again for a cached prompt.
                body = {"prompt": f"A fox, take {number}", "pipeline": pipeline, "num_frames": 121, "num_inference_steps": 2, **SIZES[size]}
                try:
                    post(address, "/v1/video/t2v", body)
                    answers.append("made")
                except urllib.error.HTTPError as error:
                    answers.append(json.loads(error.read())["detail"])
            post(address, "/v1/internal/unload", {})
        finally:
            process.terminate()
            process.wait(timeout=60)
        log = (Path(folder) / "log").read_text()
        if not list(Path(folder).glob("report-*.json")):
            raise RuntimeError(f"no report was written; answers: {answers}; log: {log[-3000:]}")
        return {"answers": answers, **count_report(Path(folder)), "unloaded_parts": log.count("unloaded networks")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ltx2", default="target/release/ltx2")
    parser.add_argument("--base", default="ltx-2-19b", choices=["ltx-2-19b", "ltx-2.3-22b"])
    parser.add_argument("--only", help="run only the cases whose names contain this")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results = []
    print(f"{'case':30} {'size':10} {'peak GB':>8} {'copied GB':>10} {'unloads':>8}  answers")
    with tempfile.TemporaryDirectory() as folder:
        for name, kind, gib, requests in CASES:
            if options.only and options.only not in name:
                continue
            models = Path(folder) / "-".join([options.base, *kind])
            if not models.exists():
                sparse_model.make(models, options.base, **kind)
            row = {"case": name, "card_gib": gib, "requests": requests, **run(options.ltx2, models, gib, requests)}
            results.append(row)
            peak, copied = row["peak_bytes"] / 1e9, row["copied_to_device_bytes"] / 1e9
            print(f"{name:30} {requests[0][1]:10} {peak:8.2f} {copied:10.1f} {row['unloaded_parts']:8}  {row['answers']}", flush=True)
    if options.out:
        commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
        about = {"commit": commit, "date": datetime.date.today().isoformat(), "base": options.base, "frames": 121,
                 "device": "emulated: allocations counted, nothing run"}
        options.out.write_text(json.dumps({**about, "cases": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
