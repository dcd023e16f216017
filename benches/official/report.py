"""The comparison table, rewritten after every phase."""
import datetime
import json
import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from .plan import PHASES

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "triton", "ltx-core", "ltx-pipelines", "transformers", "diffusers", "nvidia-cudnn-cu13", "nvidia-cudnn-cu12")
OFFICIAL = ("eager", "compiled", "diffusers")
COLUMNS = ("ours", *OFFICIAL, "ours_again")


class Report:
    def __init__(self, args, names: list):
        self.args, self.file = args, args.results / args.name
        self.rows = {name: {} for name in names}
        self.about = about(args)
        self.path("log").unlink(missing_ok=True)
        self.write()

    def path(self, kind: str) -> Path:
        return self.file.with_name(f"{self.file.name}.{kind}")

    def record(self, name: str, column: str, result: dict) -> None:
        self.rows[name][column] = result
        text = result.get("reason") or f"{result['median_seconds'] * 1e3:.1f} ms"
        print(f"{name}, {column}: {text}", file=sys.stderr, flush=True)
        self.write()

    def write(self) -> None:
        rows = {name: row | {"checks": checks(row), "ratios": self.ratios(name)} for name, row in self.rows.items()}
        self.path("json").write_text(json.dumps({"about": self.about, "phases": rows}, indent=1) + "\n")
        self.path("md").write_text(self.markdown())

    def end(self) -> None:
        """Deletes the official side's log if no phase failed."""
        if not any("reason" in result for columns in self.rows.values() for result in columns.values()):
            self.path("log").unlink(missing_ok=True)

    def ms(self, name: str, column: str) -> float | None:
        seconds = self.rows[name].get(column, {}).get("median_seconds")
        return None if seconds is None else seconds * 1e3

    def ratios(self, name: str) -> dict:
        """Time of the other side over that of ltx2 (mean of the runs before and after): above 1, ltx2 is faster."""
        mine = [ms for ms in (self.ms(name, "ours"), self.ms(name, "ours_again")) if ms is not None]
        theirs = {column: self.ms(name, column) for column in OFFICIAL}
        return {column: ms / (sum(mine) / len(mine)) for column, ms in theirs.items() if ms is not None and mine}

    def comparable(self) -> bool:
        return any(self.ratios(name) for name in self.rows)

    def markdown(self) -> str:
        a = self.about
        facts = [f"{a['model']}, {a['width']}x{a['height']}, {a['frames']} frames, {a['device']} {a['dtype']}, medians of {a['runs']} runs.",
                 "Ratios are the official time over that of ltx2: above 1, ltx2 is faster. TFLOP/s are based on the same count for both sides,",
                 "the minimum for the phase: for guided steps less than their passes, which the official code computes in full. Peak memory is",
                 "that of tensors on a GPU, of the whole process on a CPU.", "",
                 f"`{a['command']}`", "",
                 f"{a['date']}, commit {a['commit']}, {a['card'] or a['processor']}" + (f", driver {a['driver']}" if a["driver"] else "") +
                 f", Python {a['python']}, " + ", ".join(f"{name} {version}" for name, version in a["packages"].items()) + "."]
        head = ["phase", "size", "ours ms", "again", "eager ms", "compiled ms", "diffusers ms", "eager/ours", "compiled/ours",
                "diffusers/ours", "ours GB", "eager GB", "TFLOP", "ours TFLOP/s", "eager TFLOP/s", "first compiled run s"]
        lines = [f"# {self.args.name}", "", *facts, "", row(head), row(["---", "---"] + ["---:"] * (len(head) - 2))]
        lines += [row(self.cells(name)) for name in self.rows]
        stages = ["distilled-stage-1", "distilled-stage-2"]
        if all(name in self.rows for name in stages):
            lines.append(row(self.sum_cells("distilled 8 + 3", stages, len(head))))
        notes = [f"- {name}, {column}: {result['reason']}" for name, columns in self.rows.items() for column, result in columns.items()
                 if "reason" in result]
        notes += [f"- {name}: {text}" for name, columns in self.rows.items() for text in checks(columns)["wrong"]]
        lines += ["", "Missing or inconsistent:", "", *notes] if notes else ["", "Every requested phase was measured."]
        same = [f"{name} {checks(columns)['same']}" for name, columns in self.rows.items() if checks(columns)["same"]]
        return "\n".join([*lines, "", "Verified to be equal: " + ("; ".join(same) or "nothing") + ".", ""])

    def cells(self, name: str) -> list:
        phase, columns, ratios = PHASES[name], self.rows[name], self.ratios(name)
        mine, eager = columns.get("ours", {}), columns.get("eager", {})
        tflop = mine.get("tflop")
        rate = tflop / eager["median_seconds"] if tflop and "median_seconds" in eager else None
        return [name, f"{self.args.width // phase.divided}x{self.args.height // phase.divided}",
                *(number(self.ms(name, column), 1) for column in ("ours", "ours_again", *OFFICIAL)),
                *(number(ratios.get(column), 2) for column in OFFICIAL),
                *(number(side["peak_bytes"] / 1e9 if side.get("peak_bytes") else None, 2) for side in (mine, eager)),
                number(tflop, 1 if tflop and tflop > 1 else 4), number(mine.get("tflops"), 2), number(rate, 2),
                number(columns.get("compiled", {}).get("first_seconds"), 1)]

    def sum_cells(self, title: str, names: list, width: int) -> list:
        def total(column: str):
            values = [self.ms(name, column) for name in names]
            return None if None in values else sum(values)

        mine = [ms for ms in (total("ours"), total("ours_again")) if ms is not None]
        ratios = [total(column) / (sum(mine) / len(mine)) if mine and total(column) else None for column in OFFICIAL]
        cells = [title, "both", *(number(total(column), 1) for column in ("ours", "ours_again", *OFFICIAL)), *(number(r, 2) for r in ratios)]
        return cells + [""] * (width - len(cells))


def checks(columns: dict) -> dict:
    """Returns the facts that agree on both sides, and those that differ."""
    mine, same, wrong = columns.get("ours", {}), [], []
    for column in OFFICIAL:
        other = columns.get(column, {})
        if "parameters" not in other:
            continue
        facts = [f"{other['parameters']:,} parameters"]
        if other.get("passes"):
            facts.append(f"{other['passes']} passes")
        if other.get("tokens") and mine.get("tokens"):
            if list(other["tokens"]) != list(mine["tokens"]):
                wrong.append(f"{column} ran on {other['tokens']} tokens, ltx2 on {mine['tokens']}")
            else:
                facts.append("{} and {} tokens".format(*other["tokens"]))
        if not same:
            same = facts
    return {"same": ", ".join(same), "wrong": wrong}


def number(value, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def row(cells: list) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def run(*command: str) -> str | None:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def about(args) -> dict:
    gpu = (run("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader") or "").split(", ")
    keys = ("width", "height", "frames", "rate", "steps", "prompt_tokens", "warm_up", "runs", "device", "dtype", "sdpa")
    on_gpu = args.device == "cuda"
    return {"model": f"small {args.base}" if args.small else str(args.models or args.base)} | {key: getattr(args, key) for key in keys} | {
        "command": shlex.join(["python3", "benches/compare_official.py", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": args.commit or run("git", "describe", "--always", "--dirty") or "unknown",
        "card": gpu[0] if on_gpu and gpu[0] else None, "driver": gpu[1] if on_gpu and len(gpu) > 1 else None,
        "cores": os.cpu_count(), "processor": f"{os.cpu_count()} cores of {platform.machine()}", "python": platform.python_version(),
        "packages": {name: v for name in PACKAGES if (v := version(name))}}
