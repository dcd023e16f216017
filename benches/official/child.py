"""The official side, in its own process so that its memory is freed at exit. Writes one line of JSON per event."""
import gc
import json
import os
import statistics
import sys
import time
import traceback
from contextlib import nullcontext
from pathlib import Path

import torch

from . import weights
from .compiling import compile_modules
from .phases import OFFICIAL, Job, import_pipelines
from .plan import PHASES

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


class Clock:
    """Measures time and peak memory of a function on the device."""

    def __init__(self, device: torch.device):
        self.cuda = device.type == "cuda"

    def time(self, run) -> float:
        if not self.cuda:
            start = time.perf_counter()
            run()
            return time.perf_counter() - start
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1e3

    def reset_peak(self) -> None:
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        elif os.path.exists("/proc/self/clear_refs"):
            Path("/proc/self/clear_refs").write_text("5")

    def peaks(self) -> dict:
        """Peak bytes of tensors and of the allocator on a GPU, of the process on a CPU."""
        if self.cuda:
            return {"peak_bytes": torch.cuda.max_memory_allocated(), "reserved_bytes": torch.cuda.max_memory_reserved()}
        lines = Path("/proc/self/status").read_text().splitlines() if os.path.exists("/proc/self/status") else []
        return {"peak_bytes": next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)}


class Official:
    """Builds modules and times phases. The modules of the last phase are reused if the next phase needs the same ones."""

    def __init__(self, spec: dict):
        self.spec, self.device, self.dtype = spec, torch.device(spec["device"]), DTYPES[spec["dtype"]]
        self.source = weights.Files(Path(spec["models"])) if spec["models"] else weights.Synthetic(spec["base"])
        self.phases = OFFICIAL
        if spec["side"] == "diffusers":
            from .folders import DIFFUSERS

            self.phases = DIFFUSERS
        self.clock, self.builder, self.built, self.build_seconds = Clock(self.device), None, None, 0.0

    def modules(self, builder):
        if builder is not self.builder:
            self.builder = self.built = None
            self.free()
            start = time.perf_counter()
            self.built = builder(self.source, self.device, self.dtype)
            if self.spec["compile"]:
                compile_modules(self.built.modules)
            if self.clock.cuda:
                torch.cuda.synchronize()
            self.builder, self.build_seconds = builder, time.perf_counter() - start
        return self.built

    def free(self) -> None:
        gc.collect()
        if self.clock.cuda:
            torch.cuda.empty_cache()

    def attention(self):
        """Returns a context that selects the attention backend; torch chooses by default."""
        if self.spec["sdpa"] == "default":
            return nullcontext()
        from torch.nn.attention import SDPBackend, sdpa_kernel

        backends = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION, "efficient": SDPBackend.EFFICIENT_ATTENTION}
        return sdpa_kernel([backends[self.spec["sdpa"]], SDPBackend.MATH])

    def measure(self, name: str) -> dict:
        phase, spec, (builder, prepare) = PHASES[name], self.spec, self.phases[name]
        steps = phase.steps or spec["steps"]
        built = self.modules(builder)
        job = Job(self.source, self.device, self.dtype, spec["width"] // phase.divided, spec["height"] // phase.divided, spec["frames"],
                  spec["rate"], steps, spec["prompt_tokens"])
        self.free()
        if spec["compile"]:
            # Compile each phase for its own shape instead of for dynamic shapes.
            torch._dynamo.reset()
        work, passes, expected = prepare(built, job), [], phase.passes_per_step * steps
        hooks = [module.register_forward_hook(lambda *_: passes.append(1)) for key, module in built.modules.items() if key == "transformer"]
        with self.attention():
            first = self.clock.time(work.run)
            for hook in hooks:
                hook.remove()
            if "transformer" in built.modules and len(passes) != expected:
                raise AssertionError(f"expected {expected} transformer passes, but {len(passes)} ran")
            for _ in range(spec["warm_up"] - 1):
                work.run()
            self.clock.reset_peak()
            seconds = [self.clock.time(work.run) for _ in range(spec["runs"])]
        return {"seconds": seconds, "median_seconds": statistics.median(seconds), "first_seconds": first, "build_seconds": self.build_seconds,
                "parameters": built.parameters, "further_parameters": built.further, "passes": expected, "tokens": work.tokens,
                "width": job.width, "height": job.height} | self.clock.peaks()


def describe(error: BaseException) -> str:
    """Returns the message of an error and its innermost source line."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = (str(error).strip().splitlines() or [""])[0][:300]
    return f"{type(error).__name__}: {text} ({Path(frame.filename).name}:{frame.lineno})"


def main(spec: dict) -> None:
    # Redirect what libraries print to the log: only events may go to the pipe.
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def emit(event: str, **facts) -> None:
        lines.write(json.dumps({"event": event} | facts) + "\n")
        lines.flush()

    with torch.inference_mode():
        try:
            import_pipelines()
            official = Official(spec)
            weights.check(official.device)
            if spec["small"]:
                official.source.check_synthetic(0, official.device)
        except Exception as error:
            traceback.print_exc()
            sys.exit(f"the official side failed to start: {describe(error)}")
        for name in spec["phases"]:
            if time.time() > spec["deadline"]:
                emit("failed", phase=name, reason="skipped: the time budget is used up")
                continue
            emit("started", phase=name)
            try:
                emit("measured", phase=name, **official.measure(name))
            except Exception as error:
                traceback.print_exc()
                reason = describe(error)
                # The traceback keeps tensors alive.
                error.__traceback__ = None
                official.builder = official.built = None
                official.free()
                emit("failed", phase=name, reason=reason)
                if official.clock.cuda and not isinstance(error, torch.OutOfMemoryError):
                    # A CUDA error may be sticky: continue with the next phases in a new process.
                    return
