"""Runs both sides in their own processes, with time limits."""
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .plan import PHASES

# Seconds added to a phase's limit for starting the process and creating the first weights.
START = 90.0


def ours(args, name: str, deadline: float) -> dict:
    """Runs one phase of `ltx2 bench`."""
    phase = PHASES[name]
    left = min(args.phase_limit + START, deadline - time.time())
    if left < 5:
        return {"reason": "skipped: the time budget is used up"}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [args.ltx2, "bench", "--phase", phase.ours, "--width", args.width // phase.divided, "--height",
                   args.height // phase.divided, "--frames", args.frames, "--rate", args.rate, "--steps", phase.steps or args.steps,
                   "--prompt-tokens", args.prompt_tokens, "--warm-up", args.warm_up, "--runs", args.runs, "--device", args.device,
                   "--dtype", args.dtype, "--json", report, *(["--models", args.models] if args.models else ["--base", args.base])]
        start = time.monotonic()
        try:
            done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=left)
        except subprocess.TimeoutExpired:
            return {"reason": f"timed out after {left:.0f} s"}
        except OSError as error:
            return {"reason": f"cannot run {args.ltx2}: {error}"}
        if done.returncode != 0 or not report.exists():
            return {"reason": f"exit code {done.returncode}: {last_line(done.stderr)}"}
        whole = json.loads(report.read_text())
    measured = whole.pop("phases")[0]
    keys = ("seconds", "median_seconds", "peak_bytes", "tflop", "tflops", "share_of_ceiling")
    return {key: measured[key] for key in keys} | {"process_seconds": time.monotonic() - start} | {
        key: whole[key] for key in ("tokens", "clock", "card", "ceiling_tflops")}


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:400] if lines else "it said nothing"


class Official:
    """The official side's process. It runs several phases, and is restarted after a phase that crashed or timed out."""

    def __init__(self, args, script: Path, log: Path):
        self.args, self.script, self.log = args, script, log

    def run(self, names: list, side: dict, deadline: float, record) -> None:
        """Calls record(name, result) at the end of each phase. `side` has the options that distinguish the columns."""
        left = list(names)
        while left:
            before = len(left)
            phase, reason = self.run_process(left, side, deadline, record)
            if phase is None and reason is None:
                # The process exited after the last phase, or after one that left the GPU unusable.
                if len(left) < before:
                    continue
                reason = "the process exited without a message"
            # It failed in a phase, or before its first one.
            for name in [phase] if phase else list(left):
                left.remove(name)
                record(name, {"reason": reason})

    def run_process(self, left: list, side: dict, deadline: float, record) -> tuple:
        """Runs phases until the process exits; returns the phase that it failed in, and the reason."""
        args, current = self.args, None
        if deadline - time.time() < 10:
            return None, "skipped: the time budget is used up"
        keys = ("width", "height", "frames", "rate", "steps", "prompt_tokens", "warm_up", "runs", "device", "dtype", "base", "sdpa",
                "small")
        spec = {key: getattr(args, key) for key in keys} | side | {
            "models": str(args.models) if args.models else None, "phases": left, "deadline": deadline}
        with self.log.open("a") as log:
            process = subprocess.Popen([sys.executable, str(self.script), "--child", json.dumps(spec)], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=log, cwd=self.script.parent,
                                       env=os.environ | {"TQDM_DISABLE": "1"},
                                       start_new_session=True)
        lines = Lines(process.stdout.fileno())
        try:
            while True:
                limit = min(args.phase_limit + START, deadline + 30 - time.time())
                line = lines.next(limit)
                if line is None:
                    return current, f"timed out after {limit:.0f} s"
                if line == "":
                    break
                event = json.loads(line)
                name = current = event.pop("phase")
                if event.pop("event") == "started":
                    continue
                current = None
                left.remove(name)
                record(name, event)
        finally:
            if process.poll() is None and lines.open:
                # Also kills the compilers that it started.
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.returncode == 0 and current is None:
            return None, None
        return current, f"exit code {process.returncode}: {last_line(self.log.read_text())}"


class Lines:
    """Lines of a pipe, read with a timeout."""

    def __init__(self, descriptor: int):
        self.descriptor, self.rest, self.open = descriptor, b"", True
        self.selector = selectors.DefaultSelector()
        self.selector.register(descriptor, selectors.EVENT_READ)

    def next(self, seconds: float):
        """Returns the next line, "" at the end of the stream, or None on a timeout."""
        until = time.monotonic() + seconds
        while b"\n" not in self.rest:
            if not self.selector.select(max(until - time.monotonic(), 0)):
                return None
            chunk = os.read(self.descriptor, 1 << 16)
            if not chunk:
                self.open = False
                return ""
            self.rest += chunk
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode()
