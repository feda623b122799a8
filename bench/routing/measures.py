"""The measurements taken of every target, each a function from a place to its figures.

CPU comes from /proc, and so does memory; a closed loop (wrk) gives the rates, an open loop the latencies under load.
"""

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.routing.bodies import LARGE_CHAT, SMALL_CHAT, STREAMS
from bench.routing.processes import BenchError, Process, python
from bench.routing.streams import ANTHROPIC, NATIVE, OLLAMA, OPENAI, RESPONSES
from bench.routing.targets import LOAD_CORE
from bench.routing.wrk import load

CONNECTIONS = 64
SAME_RATE = 6_000.0
"""Requests per second at which targets are compared with each other: half of what the router shall do on one core."""
HALF_LIMIT = 12_000.0
"""Requests per second the open-loop client can send beside an engine on one core without being late itself."""
LATE_MS = 1.0
"""A client that is later than this at its 99th percentile measures itself."""
OPEN_TRIES = 3
FEW = 20
TRANSLATED_STREAMS = 300
"""So few that the slower of the two dialects does not fill its core."""

Figures = dict[str, float]


@dataclass(frozen=True)
class Place:
    """Where a measurement is taken: the port to call, the engine behind it, the proxy whose CPU counts, a folder for
    files, the length of a closed-loop run, and the bound on a run of streams."""

    port: int
    engine: int
    proxy: Process | None
    folder: Path
    seconds: int
    limit: float
    known: Figures = field(default_factory=dict)
    """What was measured here before."""


@dataclass(frozen=True)
class Measurement:
    """What one function measures: its figures and their units."""

    name: str
    run: Callable[[Place], Figures]
    units: dict[str, str]


def one_at_a_time(place: Place) -> Figures:
    """One connection: its median, its share above the engine alone, taken right after."""
    seen = load(place.folder, place.port, SMALL_CHAT, 1, place.seconds, LOAD_CORE)
    if place.proxy is None:
        return {"p50 at 1": seen.p50_ms}
    floor = load(place.folder, place.engine, SMALL_CHAT, 1, 1, LOAD_CORE)
    return {"p50 at 1": seen.p50_ms, "added p50 at 1": seen.p50_ms - floor.p50_ms}


def many_at_once(place: Place) -> Figures:
    with cpu_of(place.proxy) as cpu:
        seen = load(place.folder, place.port, SMALL_CHAT, CONNECTIONS, place.seconds, LOAD_CORE)
    place.known["rate"] = seen.rate
    figures = {"rate at 64": seen.rate}
    if cpu:
        figures["CPU per request"] = cpu[0] / seen.requests * 1e6
        figures["requests per core"] = seen.requests / cpu[0]
    return figures


def half_load(place: Place) -> Figures:
    """Half of what the target did a moment ago, at a constant rate; then the engine alone at the same rate."""
    if "rate" not in place.known:
        raise BenchError("what it can do at 64 connections is not known")
    rate = min(place.known["rate"] / 2, HALF_LIMIT)
    return {"half load, rate": rate} | latencies(place, "half load", rate)


def same_load(place: Place) -> Figures:
    """The same rate for every target: what a request waits behind the same number of others."""
    if place.known.get("rate", 0.0) < SAME_RATE:
        raise BenchError(f"it does not do {SAME_RATE:.0f} requests per second")
    return latencies(place, "same load", SAME_RATE)


def latencies(place: Place, name: str, rate: float) -> Figures:
    """Of requests at a constant rate; then those of the engine alone."""
    seen = open_loop(place.port, rate, place.seconds)
    figures = {
        f"{name}, p50": seen["p50_ms"],
        f"{name}, p99": seen["p99_ms"],
        f"{name}, client late": seen["late_p99_ms"],
    }
    if place.proxy is not None:
        floor = open_loop(place.engine, rate, place.seconds)
        figures[f"{name}, added p99"] = seen["p99_ms"] - floor["p99_ms"]
    return figures


def long_prompts(place: Place) -> Figures:
    with cpu_of(place.proxy) as cpu:
        seen = load(place.folder, place.port, LARGE_CHAT, 20, place.seconds, LOAD_CORE)
    return {"220 kB prompts at 20": seen.rate} | cpu_per("CPU per 220 kB prompt", cpu, seen.requests)


def many_streams(place: Place) -> Figures:
    if place.proxy and "idle" not in place.known:
        streams(place, FEW)  # what every stream shares is loaded now; what a thousand leave behind is theirs
        place.known["idle"] = place.proxy.pss
    with cpu_of(place.proxy) as cpu:
        seen, peak = streams(place, STREAMS)
    figures: Figures = {
        "streams, lag p50": seen["lag_p50_ms"],
        "streams, lag p99": seen["lag_p99_ms"],
        "streams, first chunk p50": seen["first_p50_ms"],
    }
    if place.proxy:
        figures["memory per stream"] = (peak - place.known["idle"]) / STREAMS / 1000
    return figures | cpu_per("CPU per chunk", cpu, seen["chunks"])


def translation(place: Place) -> Figures:
    """The same chunks passed on as they are, and made into the lines and events of the other dialects."""
    figures: Figures = {}
    ways = (
        ("CPU per passed chunk", OPENAI),
        ("CPU per Ollama line", OLLAMA),
        ("CPU per Anthropic event", ANTHROPIC),
        ("CPU per Responses event", RESPONSES),
        ("CPU per native event", NATIVE),
    )
    for name, path in ways:
        with cpu_of(place.proxy) as cpu:
            seen, _ = streams(place, TRANSLATED_STREAMS, path)
        figures |= cpu_per(name, cpu, seen["chunks"])
    passed = figures["CPU per passed chunk"]
    figures["Ollama translation per chunk"] = figures["CPU per Ollama line"] - passed
    figures["Anthropic translation per chunk"] = figures["CPU per Anthropic event"] - passed
    figures["Responses translation per chunk"] = figures["CPU per Responses event"] - passed
    figures["Native translation per chunk"] = figures["CPU per native event"] - passed
    return figures


WHOLE = (
    Measurement("one at a time", one_at_a_time, {"p50 at 1": "ms", "added p50 at 1": "ms"}),
    Measurement(
        "many at once", many_at_once, {"rate at 64": "1/s", "requests per core": "1/s", "CPU per request": "us"}
    ),
    Measurement(
        "half load",
        half_load,
        {
            "half load, rate": "1/s",
            "half load, p50": "ms",
            "half load, p99": "ms",
            "half load, added p99": "ms",
            "half load, client late": "ms",
        },
    ),
    Measurement(
        "same load",
        same_load,
        {"same load, p50": "ms", "same load, p99": "ms", "same load, added p99": "ms", "same load, client late": "ms"},
    ),
    Measurement("long prompts", long_prompts, {"220 kB prompts at 20": "1/s", "CPU per 220 kB prompt": "us"}),
)
STREAMED = Measurement(
    "streams",
    many_streams,
    {
        "streams, lag p50": "ms",
        "streams, lag p99": "ms",
        "streams, first chunk p50": "ms",
        "CPU per chunk": "us",
        "memory per stream": "kB",
    },
)
TRANSLATED = Measurement(
    "ollama",
    translation,
    {
        "CPU per passed chunk": "us",
        "CPU per Ollama line": "us",
        "Ollama translation per chunk": "us",
        "CPU per Anthropic event": "us",
        "Anthropic translation per chunk": "us",
        "CPU per Responses event": "us",
        "Responses translation per chunk": "us",
        "CPU per native event": "us",
        "Native translation per chunk": "us",
    },
)


def streams(place: Place, count: int, path: str = OPENAI) -> tuple[dict[str, Any], int]:
    """What the client of `count` streams saw, and the proxy's largest size meanwhile (PSS, bytes)."""
    peak = place.proxy.pss if place.proxy else 0
    argv = on_load_core("bench.routing.streams", place.port, count, path)
    client = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + place.limit
    while client.poll() is None and time.monotonic() < deadline:
        peak = max(peak, place.proxy.pss if place.proxy else 0)
        time.sleep(0.4)
    ended = client.returncode is not None
    client.kill()
    said, why = client.communicate()
    if not ended:
        raise BenchError(f"{count} streams did not finish in {place.limit:g} s")
    if client.returncode:
        raise BenchError(f"the streams did not end well: {why.strip().splitlines()[-1:]}")
    seen: dict[str, Any] = json.loads(said)
    return seen, peak


def open_loop(port: int, rate: float, seconds: int) -> Figures:
    """Requests at a constant rate. Where the client itself was late, again: the run in which it was least late counts,
    and by how much is a figure of its own."""
    runs: list[Figures] = []
    while not runs or (len(runs) < OPEN_TRIES and runs[-1]["late_p99_ms"] > LATE_MS):
        argv = on_load_core("bench.routing.openloop", port, rate, seconds, CONNECTIONS)
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=seconds + 60)
        if done.returncode:
            raise BenchError(f"the open loop did not end well: {done.stderr.strip().splitlines()[-1:]}")
        runs.append(json.loads(done.stdout))
    return min(runs, key=lambda run: run["late_p99_ms"])


def on_load_core(module: str, *arguments: object) -> list[str]:
    return ["taskset", "-c", str(LOAD_CORE), *python(module, *arguments)]


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
