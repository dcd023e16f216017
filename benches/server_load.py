#!/usr/bin/env python3
"""Load `ltx2 serve` with many clients on the demo model, and check its limits.

    benches/server_load.py [--ltx2 target/release/ltx2] [--only load,watch,queue,memory] [--out benches/results/server-NAME.json]

load    200 clients poll every second and 20 submit every 5 s while a video is generated, alternating with the same video alone
watch   100 clients watch a video's events while it is generated, alternating with one client and with none
queue   polls and lists with an empty queue and with 10,000 queued tasks, with and without clients that submit
memory  resident memory after 100 and after 1,000 of the smallest videos

Server and load run on separate cores, so that a slower video is caused by the server. Requests have due times from which their
latency is measured: a load generator that falls behind makes the results worse, never better. The lateness of its clock and the
share of its core that it used are part of the results.
"""
import argparse
import asyncio
import datetime
import json
import os
import platform
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GUIDANCE_OFF = {"cfg_scale_video": 1, "cfg_scale_audio": 1, "stg_scale_video": 0, "modality_scale": 1}
SMALLEST = {"prompt": "A fox", "width": 64, "height": 64, "num_frames": 1, "num_inference_steps": 1, "pipeline": "one-stage",
            **GUIDANCE_OFF}
MEASURED = {"prompt": "A fox", "width": 256, "height": 256, "num_frames": 25, "num_inference_steps": 40,
            "pipeline": "one-stage", "priority": 100}
ENDLESS = {**MEASURED, "width": 768, "height": 768, "num_frames": 241, "num_inference_steps": 200}
POLLERS, SUBMITTERS, POLL_EVERY, SUBMIT_EVERY = 200, 20, 1.0, 5.0
WAITING = 10_000
VIDEOS = (100, 1000)
WATCHERS = (0, 1, 100)


class Client:
    """A persistent connection, reopened after long pauses because servers close idle connections."""

    def __init__(self, address: tuple):
        self.address, self.streams, self.used = address, None, 0.0

    async def request(self, method: str, path: str, body: dict | None = None) -> dict:
        if time.monotonic() - self.used > 10:
            self.close()
            self.streams = await asyncio.open_connection(*self.address)
        reader, writer = self.streams
        text = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        writer.write(head.encode() + text)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        answer = await reader.readexactly(int(length[1]))
        self.used = time.monotonic()
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{method} {path}: {head.splitlines()[0].decode()} {answer[:200].decode()}")
        return json.loads(answer)

    def close(self) -> None:
        if self.streams:
            self.streams[1].close()


class Server:
    """A server process with its own data folder."""

    def __init__(self, ltx2: str, models: str, data: str, cores: set):
        command = [ltx2, "serve", "--models", models, "--data-dir", data, "--port", "0", "--device", "cpu", "--dtype", "f32",
                   "--idle-timeout", "0", "--max-queue", str(2 * WAITING)]
        self.log = open(Path(data).with_suffix(".log"), "w+")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env={**os.environ, "RUST_LOG": "info,sqlx=error"},
                                        preexec_fn=lambda: os.sched_setaffinity(0, cores))
        self.address = self.wait_for_address()

    def wait_for_address(self) -> tuple:
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            self.log.seek(0)
            found = re.search(r"listening on http://([\d.]+):(\d+)", self.log.read())
            if found:
                return found[1], int(found[2])
            time.sleep(0.05)
        self.log.seek(0)
        sys.exit(f"the server did not start: {self.log.read()[-2000:]}")

    def processes(self) -> list:
        """Process ids of the server and of the engine, if it runs."""
        pid = self.process.pid
        return [pid, *" ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")).split()]

    def all_cpu_seconds(self) -> float:
        """CPU seconds of both processes; steadier than wall-clock time on a shared machine."""
        ticks = 0
        for process in self.processes():
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
            ticks += sum(int(field) for field in fields[11:13])
        return ticks / os.sysconf("SC_CLK_TCK")

    def resident_kb(self) -> dict:
        """Resident memory of the server and the engine together."""
        statuses = [Path(f"/proc/{process}/status").read_text() for process in self.processes()]
        of = lambda name: sum(int(re.search(rf"{name}:\s+(\d+)", status)[1]) for status in statuses)
        return {name: of(name) for name in ("VmRSS", "RssAnon", "RssFile")}

    def cpu_seconds(self) -> float:
        """CPU seconds of the server's threads; the model runs in its own process."""
        ticks = 0
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            name, fields = re.match(r"\d+ \((.*)\) (.*)", (thread / "stat").read_text()).groups()
            if name.startswith(("tokio", "sqlx")):
                ticks += sum(int(field) for field in fields.split()[11:13])
        return ticks / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


class Load:
    """Requests sent at their due times until stopped."""

    def __init__(self, address: tuple):
        self.address, self.latencies, self.failures, self.lateness = address, {}, [], []
        self.runners, self.is_over = [], False

    def add(self, kind: str, count: int, every: float, request) -> None:
        """Adds `count` clients that each call `request(client)` once every `every` seconds."""
        self.latencies.setdefault(kind, [])
        for index in range(count):
            self.runners.append(asyncio.create_task(self.run(kind, every, index * every / count, request)))

    async def run(self, kind: str, every: float, first: float, request) -> None:
        client, due = Client(self.address), time.monotonic() + first
        while not self.is_over:
            await asyncio.sleep(due - time.monotonic())
            try:
                await request(client)
                self.latencies[kind].append(time.monotonic() - due)
            except Exception as error:  # Any error counts as a failed request.
                self.failures.append(f"{kind}: {error!r}")
                client = Client(self.address)
            due += every
        client.close()

    async def tick(self) -> None:
        while not self.is_over:
            due = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            self.lateness.append(time.monotonic() - due)

    async def __aenter__(self):
        self.start, self.cpu = time.monotonic(), own_cpu()
        self.runners.append(asyncio.create_task(self.tick()))
        return self

    async def __aexit__(self, *_) -> None:
        self.is_over = True
        await asyncio.gather(*self.runners)
        self.seconds = time.monotonic() - self.start
        self.core_share = (own_cpu() - self.cpu) / self.seconds

    def summary(self) -> dict:
        rows = {kind: milliseconds(values) for kind, values in self.latencies.items() if values}
        own = {"core_share": round(self.core_share, 3), "tick_late_p99_ms": milliseconds(self.lateness)["p99"]}
        return {"requests_ms": rows, "failed": len(self.failures), "failures": self.failures[:5], "load_itself": own}


def own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def milliseconds(seconds: list) -> dict:
    ordered = sorted(seconds)
    at = lambda share: round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)
    return {"count": len(ordered), "p50": at(0.5), "p99": at(0.99), "max": at(1)}


async def submit(client: Client, request: dict) -> str:
    return (await client.request("POST", "/v1/video/async_t2v", request))["task_id"]


async def finished(client: Client, task: str) -> dict:
    while True:
        answer = await client.request("GET", f"/v1/video/tasks/{task}")
        if answer["status"] == "failed":
            sys.exit(f"task {task} failed: {answer['error']}")
        if answer["status"] == "completed":
            return answer
        await asyncio.sleep(0.02)


async def running(client: Client, task: str) -> None:
    while (await client.request("GET", f"/v1/video/tasks/{task}")).get("stage") != "denoising":
        await asyncio.sleep(0.02)


async def make_measured(client: Client) -> float:
    """Seconds from the start to the end of a video."""
    return (await finished(client, await submit(client, MEASURED)))["timings"]["running"]


async def bench_load(server: Server, runs: int) -> dict:
    client, known = Client(server.address), []
    known.append(await submit(client, SMALLEST))
    await finished(client, known[0])
    await make_measured(client)

    async def poll(client: Client) -> None:
        await client.request("GET", f"/v1/video/tasks/{random.choice(known)}")

    async def submit_and_cancel(client: Client) -> None:
        task = await submit(client, SMALLEST)
        known.append(task)

    alone, loaded, summaries, shares = [], [], [], []
    for _ in range(runs):
        alone.append(await make_measured(client))
        task = await submit(client, MEASURED)
        await running(client, task)
        async with Load(server.address) as load:
            load.add("poll", POLLERS, POLL_EVERY, poll)
            load.add("submit", SUBMITTERS, SUBMIT_EVERY, submit_and_cancel)
            busy = server.cpu_seconds()
            loaded.append((await finished(client, task))["timings"]["running"])
            shares.append((server.cpu_seconds() - busy) / (time.monotonic() - load.start))
        summaries.append(load.summary())
        for waiting in known[1:]:
            await client.request("DELETE", f"/v1/video/tasks/{waiting}")
        del known[1:]
    client.close()
    slower = statistics.median(loaded) / statistics.median(alone) - 1
    p99 = statistics.median(summary["requests_ms"]["poll"]["p99"] for summary in summaries)
    failed = sum(summary["failed"] for summary in summaries)
    return {"alone_s": alone, "loaded_s": loaded, "slower": round(slower, 4), "poll_p99_ms": p99, "failed": failed,
            "server_core_share": [round(share, 4) for share in shares], "runs": summaries,
            "holds": {"no failed request": failed == 0, "poll p99 < 20 ms": p99 < 20, "slower by < 3 %": slower < 0.03}}


async def watch(address: tuple, task: str) -> int:
    """Returns the number of events of `task` up to its last one."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(f"GET /v1/video/tasks/{task}/events HTTP/1.0\r\nHost: bench\r\n\r\n".encode())
    text = (await reader.read()).decode()
    writer.close()
    if "event: completed" not in text:
        raise RuntimeError(f"the event stream ended without a final event: {text[-200:]}")
    return text.count("event: ")


async def bench_watch(server: Server, runs: int) -> dict:
    """Measures the cost of watchers, which includes the previews that they request."""
    client, seconds, events = Client(server.address), {count: [] for count in WATCHERS}, {}
    cpu = {count: [] for count in WATCHERS}
    await make_measured(client)
    for _ in range(runs):
        for count in WATCHERS:
            before = server.all_cpu_seconds()
            task = await submit(client, MEASURED)
            watchers = [asyncio.create_task(watch(server.address, task)) for _ in range(count)]
            seconds[count].append((await finished(client, task))["timings"]["running"])
            events[count] = [await watcher for watcher in watchers][:1]
            cpu[count].append(round(server.all_cpu_seconds() - before, 2))
    client.close()
    medians = {count: statistics.median(values) for count, values in seconds.items()}
    slower = {count: round(medians[count] / medians[0] - 1, 4) for count in WATCHERS[1:]}
    spread = round((max(seconds[0]) - min(seconds[0])) / medians[0], 4)
    more_cpu = {count: round(statistics.median(cpu[count]) / statistics.median(cpu[0]) - 1, 4) for count in WATCHERS[1:]}
    return {"seconds": seconds, "cpu_seconds": cpu, "events_each": events, "slower": slower, "more_cpu": more_cpu,
            "spread_of_none": spread,
            "holds": {"100 watchers are lost in the spread": slower[WATCHERS[-1]] <= max(spread, 0.01),
                      "100 watchers take < 2 % more cpu": more_cpu[WATCHERS[-1]] < 0.02}}


async def measure_latencies(address: tuple, tasks: list, submitters: int) -> dict:
    """Latencies of polls and lists over 15 s."""
    async def poll(client: Client) -> None:
        await client.request("GET", f"/v1/video/tasks/{random.choice(tasks)}")

    async def listing(client: Client) -> None:
        await client.request("GET", "/v1/video/tasks?limit=20")

    async def add(client: Client) -> None:
        await submit(client, SMALLEST)

    async with Load(address) as load:
        load.add("poll", 20, 0.4, poll)
        load.add("list", 5, 0.4, listing)
        load.add("submit", submitters, SUBMIT_EVERY, add)
        await asyncio.sleep(15)
    return load.summary()


async def bench_queue(server: Server) -> dict:
    """Measures the cost of a long queue. A video is generated during all measurements, so that only the queue differs."""
    client = Client(server.address)
    blocker = await submit(client, ENDLESS)
    await running(client, blocker)
    # Finished tasks fill the page of the list, so that its size is the same as later.
    ended = [await submit(client, SMALLEST) for _ in range(20)]
    for task in ended:
        await client.request("DELETE", f"/v1/video/tasks/{task}")
    empty = [await measure_latencies(server.address, [blocker], 0)]
    few = [await submit(client, SMALLEST) for _ in range(20)]
    empty.append(await measure_latencies(server.address, few, SUBMITTERS))

    tasks, start = [], time.monotonic()

    async def fill(count: int) -> None:
        filler = Client(server.address)
        for _ in range(count):
            tasks.append(await submit(filler, SMALLEST))
        filler.close()

    await asyncio.gather(*(fill(WAITING // 20) for _ in range(20)))
    filling = time.monotonic() - start
    full = [await measure_latencies(server.address, tasks, 0), await measure_latencies(server.address, tasks, SUBMITTERS)]
    client.close()
    rows = {}
    for index, name in enumerate(("still", "submitting")):
        for kind in ("poll", "list"):
            before, after = empty[index]["requests_ms"][kind], full[index]["requests_ms"][kind]
            rows[f"{kind}, {name}"] = {"empty": before, "full": after, "ratio_p50": round(after["p50"] / before["p50"], 2),
                                       "ratio_p99": round(after["p99"] / before["p99"], 2)}
    failed = sum(part["failed"] for part in empty + full)
    return {"fill_per_second": round(WAITING / filling), "rows": rows, "failed": failed, "load_itself": full[1]["load_itself"],
            "holds": {"polls within a factor 3": all(row["ratio_p50"] < 3 for name, row in rows.items() if name.startswith("poll")),
                      "no failed request": failed == 0}}


async def bench_memory(server: Server) -> dict:
    client, marks, start = Client(server.address), {}, time.monotonic()
    for number in range(1, VIDEOS[-1] + 1):
        await finished(client, await submit(client, SMALLEST))
        if number in VIDEOS or number % 100 == 0:
            marks[number] = server.resident_kb()
    client.close()
    first, last = (marks[number]["VmRSS"] for number in VIDEOS)
    return {"videos_per_second": round(VIDEOS[-1] / (time.monotonic() - start), 2), "resident_kb": marks,
            "grown": round(last / first - 1, 4), "holds": {"within 5 %": last <= 1.05 * first}}


def cores() -> tuple:
    """Returns the cores of the server and of the load; equal if there is only one."""
    all_cores = sorted(os.sched_getaffinity(0))
    half = (len(all_cores) + 1) // 2
    return set(all_cores[:half]), set(all_cores[half:]) or set(all_cores)


def table(results: dict) -> None:
    if load := results.get("load"):
        print(f"load    slower {100 * load['slower']:.1f} %, poll p99 {load['poll_p99_ms']} ms, {load['failed']} failed")
    if watched := results.get("watch"):
        print(f"watch   slower {100 * watched['slower'][1]:.1f} % with 1, {100 * watched['slower'][100]:.1f} % with 100;"
              f" spread {100 * watched['spread_of_none']:.1f} %; cpu {100 * watched['more_cpu'][1]:+.1f} %,"
              f" {100 * watched['more_cpu'][100]:+.1f} %")
    for name, row in results.get("queue", {}).get("rows", {}).items():
        print(f"queue   {name:18} empty p50 {row['empty']['p50']:6} p99 {row['empty']['p99']:6}   full p50 {row['full']['p50']:6}"
              f" p99 {row['full']['p99']:6} ms   ratio {row['ratio_p50']} / {row['ratio_p99']}")
    if memory := results.get("memory"):
        at = {number: memory["resident_kb"][number]["VmRSS"] // 1024 for number in VIDEOS}
        print(f"memory  {at} MiB, grown {100 * memory['grown']:.1f} %")
    for name, result in results.items():
        for rule, holds in result["holds"].items():
            print(f"{'holds' if holds else 'FAILS':7} {name}: {rule}")


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("--ltx2", default=str(ROOT / "target/release/ltx2"))
    args.add_argument("--only", default="load,watch,queue,memory")
    args.add_argument("--runs", type=int, default=5)
    args.add_argument("--out", type=Path)
    a = args.parse_args()
    server_cores, load_cores = cores()
    os.sched_setaffinity(0, load_cores)
    parts = {"load": lambda server: bench_load(server, a.runs), "watch": lambda server: bench_watch(server, a.runs), "queue": bench_queue, "memory": bench_memory}
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        models = str(Path(temporary) / "models")
        subprocess.run([a.ltx2, "demo-model", "--synthetic", models], check=True, stdout=subprocess.DEVNULL)
        for name in a.only.split(","):
            server = Server(a.ltx2, models, str(Path(temporary) / name), server_cores)
            try:
                results[name] = asyncio.run(parts[name](server))
            finally:
                server.kill()
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    table(results)
    if a.out:
        result = {"what": "ltx2 serve under load, demo model", "commit": git, "machine": platform.machine(),
                  "cores": {"server": len(server_cores), "load": len(load_cores)},
                  "date": datetime.date.today().isoformat(), "parts": results}
        a.out.parent.mkdir(parents=True, exist_ok=True)
        a.out.write_text(json.dumps(result, indent=1) + "\n")
    if not all(holds for result in results.values() for holds in result["holds"].values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
