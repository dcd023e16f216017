#!/usr/bin/env python3
"""Time ltx2 and the official ltx-core 1.2.0 phase by phase, with the same GPU, shapes, dtype, step counts and passes.

    python3 benches/compare_official.py --ltx2 target/release/ltx2 --name h200-768x512 [--base ltx-2-19b] [--compile] [--diffusers]
    python3 benches/compare_official.py --ltx2 target/release/ltx2 --small --compile          # the demo model, on a CPU

Both sides use the same synthetic weights and random inputs. Each side runs in its own processes, one after the other, so that
each has the whole memory of the GPU. NAME.json and NAME.md in --results are rewritten after every phase; a phase that fails
becomes a row with the reason. Needs ltx-core, ltx-pipelines and transformers 5.14 (scripts/reference/requirements.txt).
"""
import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from official import driver, plan
from official.report import Report

ROOT = Path(__file__).resolve().parent.parent
SIDES = {"eager": {"side": "official", "compile": False}, "diffusers": {"side": "diffusers", "compile": False},
         "compiled": {"side": "official", "compile": True}}


def arguments() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--child", help=argparse.SUPPRESS)
    p.add_argument("--ltx2", default=str(ROOT / "target/release/ltx2"))
    p.add_argument("--base", default="ltx-2-19b", choices=["ltx-2-19b", "ltx-2.3-22b"], help="published architecture, with synthetic weights")
    p.add_argument("--models", type=Path, help="model set to use instead of --base, such as the demo model")
    p.add_argument("--small", action="store_true", help="measure the demo model of --base on the CPU in float32")
    p.add_argument("--phase", action="append", choices=list(plan.PHASES), help=f"repeatable; default: {', '.join(plan.USUAL)}")
    p.add_argument("--width", type=int)
    p.add_argument("--height", type=int)
    p.add_argument("--frames", type=int)
    p.add_argument("--rate", type=float, default=24.0)
    p.add_argument("--steps", type=int, default=8, help="steps of denoise and denoise-unguided")
    p.add_argument("--prompt-tokens", type=int, default=256)
    p.add_argument("--warm-up", type=int, default=1)
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    p.add_argument("--dtype", choices=["bf16", "f32"], help="default: bf16 on a GPU, f32 on a CPU")
    p.add_argument("--compile", action="store_true", help="also run the official side under torch.compile")
    p.add_argument("--diffusers", action="store_true", help="also run diffusers' transformer and video decoder")
    p.add_argument("--sdpa", default="default", choices=["default", "cudnn", "flash", "efficient"], help="attention backend of the official side")
    p.add_argument("--no-again", action="store_true", help="run ltx2 once, not before and after the official side")
    p.add_argument("--phase-limit", type=float, default=180.0, metavar="SECONDS", help="time limit of one phase on one side")
    p.add_argument("--budget", type=float, default=540.0, metavar="SECONDS", help="time limit of the whole run; remaining phases are skipped")
    p.add_argument("--name", default="compare")
    p.add_argument("--results", type=Path, default=ROOT / "benches/results")
    p.add_argument("--commit", help="commit of ltx2, if git is not available")
    args = p.parse_args()
    if args.small:
        args.device = "cpu"
    small = args.small or bool(args.models)
    for key, usual in (("width", 256 if small else 768), ("height", 256 if small else 512), ("frames", 33 if small else 121)):
        setattr(args, key, getattr(args, key) or usual)
    args.dtype = args.dtype or ("f32" if args.device == "cpu" else "bf16")
    if args.warm_up < 1 or args.runs < 1:
        p.error("--warm-up and --runs must be at least 1")
    return args


def main() -> None:
    args = arguments()
    if args.child:
        from official import child

        child.main(json.loads(args.child))
        return
    with tempfile.TemporaryDirectory() as folder:
        if args.small:
            args.models = Path(folder)
            subprocess.run([args.ltx2, "demo-model", "--synthetic", folder, "--base", args.base], check=True, stdout=subprocess.DEVNULL)
        compare(args)


def compare(args: argparse.Namespace) -> None:
    names, deadline = args.phase or list(plan.USUAL), time.time() + args.budget
    args.results.mkdir(parents=True, exist_ok=True)
    report = Report(args, names)
    official = driver.Official(args, Path(__file__).resolve(), report.path("log"))

    def record(column: str):
        return lambda name, result: report.record(name, column, result)

    def ours(column: str) -> None:
        for name in names:
            report.record(name, column, driver.ours(args, name, deadline))

    ours("ours")
    # Compilation takes longest, so it is last.
    for column, spec in SIDES.items():
        if {"eager": True, "diffusers": args.diffusers, "compiled": args.compile}[column]:
            timed = [name for name in names if column != "diffusers" or name in plan.DIFFUSERS]
            official.run(timed, spec, deadline, record(column))
        if column == "eager" and not args.no_again:
            ours("ours_again")
    report.end()
    print(report.markdown())
    print(f"written: {report.path('json')}, {report.path('md')}")
    if not report.comparable():
        sys.exit("no phase was measured on both sides")


if __name__ == "__main__":
    main()
