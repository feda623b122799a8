"""What the router costs, against nginx and against nothing, on the same engine stand-ins in one run.

    python -m bench.router [--repeats 3] [--seconds 3] [--python /usr/bin/python3] [--json FILE]

The proxy under test has one core, load and engine the other. Every figure is the median of interleaved repeats with
their spread; CPU comes from /proc. `direct` is the floor: what load and engine need by themselves. A closed loop (wrk)
gives the rates; streams are opened all at once and paced by the engine, which writes the time into every chunk.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.routing.bodies import LARGE_CHAT, SMALL_CHAT, STREAMS
from bench.routing.processes import BenchError, Process, free_port, nginx_engine, nginx_proxy, python, running
from bench.routing.wrk import load

PROXY_CORE, LOAD_CORE = 0, 1
TARGETS = ("direct", "nginx", "router")
STREAM_LIMIT = 90


@dataclass(frozen=True)
class Row:
    measure: str
    unit: str
    target: str
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Place:
    """Where a measurement is taken: the port to call, the proxy whose CPU counts, and a folder for files."""

    port: int
    proxy: Process | None
    folder: Path
    seconds: float


Figures = dict[str, float]


def one_at_a_time(place: Place) -> Figures:
    return {"p50 at 1": load(place.folder, place.port, SMALL_CHAT, 1, place.seconds, LOAD_CORE).p50_ms}


def many_at_once(place: Place) -> Figures:
    with cpu_of(place.proxy) as cpu:
        seen = load(place.folder, place.port, SMALL_CHAT, 64, place.seconds, LOAD_CORE)
    return {"rate at 64": seen.rate, "p99 at 64": seen.p99_ms} | cpu_per("CPU per request", cpu, seen.requests)


def long_prompts(place: Place) -> Figures:
    with cpu_of(place.proxy) as cpu:
        seen = load(place.folder, place.port, LARGE_CHAT, 20, place.seconds, LOAD_CORE)
    return {"rate of 220 kB prompts at 20": seen.rate} | cpu_per("CPU per 220 kB prompt", cpu, seen.requests)


def many_streams(place: Place) -> Figures:
    idle = place.proxy.pss if place.proxy else 0
    peak = idle
    argv = ["taskset", "-c", str(LOAD_CORE), *python("bench.routing.streams", place.port, STREAMS)]
    with cpu_of(place.proxy) as cpu:
        client = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        deadline = time.monotonic() + STREAM_LIMIT
        while client.poll() is None and time.monotonic() < deadline:
            peak = max(peak, place.proxy.pss if place.proxy else 0)
            time.sleep(0.4)
    client.kill()
    said, _ = client.communicate()
    if client.returncode:
        raise BenchError(f"the streams did not end well: {client.returncode}")
    seen = json.loads(said)
    figures = {"lag p50": seen["lag_p50_ms"], "lag p99": seen["lag_p99_ms"], "first chunk p50": seen["first_p50_ms"]}
    if place.proxy:
        figures["memory per stream"] = (peak - idle) / STREAMS / 1000
    return figures | cpu_per("CPU per chunk", cpu, seen["chunks"])


UNITS = {
    "p50 at 1": "ms",
    "rate at 64": "1/s",
    "p99 at 64": "ms",
    "CPU per request": "us",
    "rate of 220 kB prompts at 20": "1/s",
    "CPU per 220 kB prompt": "us",
    "lag p50": "ms",
    "lag p99": "ms",
    "first chunk p50": "ms",
    "CPU per chunk": "us",
    "memory per stream": "kB",
}
WHOLE: tuple[Callable[[Place], Figures], ...] = (one_at_a_time, many_at_once, long_prompts)


@contextlib.contextmanager
def cpu_of(proxy: Process | None) -> Iterator[list[float]]:
    """A list that holds the proxy's CPU seconds of the time inside, afterwards."""
    spent: list[float] = []
    before = proxy.cpu_seconds if proxy else 0.0
    yield spent
    if proxy:
        spent.append(proxy.cpu_seconds - before)


def cpu_per(name: str, spent: list[float], count: int) -> Figures:
    return {name: spent[0] / count * 1e6} if spent else {}


@contextlib.contextmanager
def proxy(target: str, engine: int, folder: Path, interpreter: str) -> Iterator[tuple[int, Process | None]]:
    """The target in front of `engine`: its port and its process."""
    if target == "direct":
        yield engine, None
        return
    port = free_port()
    argv = (
        nginx_proxy(folder / f"nginx-{port}", port, engine)
        if target == "nginx"
        else python("bench.routing.proxy", port, engine, interpreter=interpreter)
    )
    with running(argv, PROXY_CORE, port) as process:
        yield port, process


def measure(engine: int, what: tuple[Callable[[Place], Figures], ...], options: argparse.Namespace) -> list[Row]:
    """Every target in turn, again and again: what changes on the machine meanwhile hits all alike."""
    seen: dict[tuple[str, str], list[float]] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dormouse-bench-")))
        places = {}
        for target in TARGETS:
            port, process = stack.enter_context(proxy(target, engine, folder, options.python))
            places[target] = Place(port, process, folder, options.seconds)
        for repeat in range(options.repeats + 1):  # the first is a warm-up
            for run in what:
                for target in TARGETS:
                    print(f"\r{run.__name__} {target} {repeat}/{options.repeats}   ", end="", file=sys.stderr)
                    figures = run(places[target])
                    for name, value in figures.items() if repeat else ():
                        seen.setdefault((name, target), []).append(value)
    print("\r" + " " * 60 + "\r", end="", file=sys.stderr)
    return [
        Row(name, UNITS[name], target, statistics.median(values), min(values), max(values))
        for (name, target), values in seen.items()
    ]


def derived(rows: list[Row]) -> list[Row]:
    """Latency added to direct, and requests per second that one core is good for."""
    by = {(row.measure, row.target): row for row in rows}
    more = []
    for target in TARGETS[1:]:
        floor, row = by["p50 at 1", "direct"], by["p50 at 1", target]
        added = [row.median - floor.median, row.low - floor.median, row.high - floor.median]
        more.append(Row("added p50 at 1", "ms", target, *added))
        cpu = by["CPU per request", target]
        more.append(Row("requests per core", "1/s", target, 1e6 / cpu.median, 1e6 / cpu.high, 1e6 / cpu.low))
    return more


def table(rows: list[Row]) -> str:
    """One line per measure, one column per target: median (low to high)."""
    names = list(dict.fromkeys((row.measure, row.unit) for row in rows))
    cells = {(row.measure, row.target): f"{row.median:.4g} ({row.low:.4g} to {row.high:.4g})" for row in rows}
    lines = [["", *TARGETS]] + [
        [f"{name} ({unit})", *(cells.get((name, t), "") for t in TARGETS)] for name, unit in names
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.router", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="repeats per figure after a warm-up")
    parser.add_argument("--seconds", type=float, default=3, help="length of one closed-loop run")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the router (images have Debian's)")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = parser.parse_args()
    if (os.cpu_count() or 1) < 2:
        print("bench.router needs two cores: one for the proxy, one for load and engine", file=sys.stderr)
        return 2
    rows: list[Row] = []
    try:
        with tempfile.TemporaryDirectory(prefix="dormouse-bench-") as temporary:
            engine = free_port()
            with running(nginx_engine(Path(temporary) / "engine", engine), LOAD_CORE, engine):
                rows += measure(engine, WHOLE, options)
        engine = free_port()
        with running(python("bench.routing.engine", engine), LOAD_CORE, engine):
            rows += measure(engine, (many_streams,), options)
    except BenchError as error:
        print(f"bench.router: {error}", file=sys.stderr)
        return 1
    rows += derived(rows)
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
