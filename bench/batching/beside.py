"""Interactive calls without a batch, with one that begins beside them, and ones that come to a batch under way."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.batching.plant import Plant
from bench.batching.rows import Row
from bench.batching.run import begin
from bench.routing.processes import BenchError
from dormouse_router.batch.window import QUIET

SLOWER = 1.5
"""Wanted at most: of the latency without a batch."""
ENDED = ("completed", "failed", "expired", "cancelled")
CANCEL_SECONDS = 120.0
REST = QUIET + 5.0
"""Seconds without calls, after which the worker takes them to have gone and has grown again."""


@dataclass(frozen=True)
class Calls:
    """What is asked: `rate` times a second, whatever became of the calls before; the body by the call's number."""

    path: str
    body: Callable[[int], bytes]
    rate: float


@dataclass(frozen=True)
class Latencies:
    """Seconds of each call."""

    alone: list[float]
    begun: list[float]
    """A batch began as these did."""
    joined: list[float]
    """These came when it had been alone with the engine for a while."""
    lines: float
    """Of the batch, a second, while calls were made."""


def rows(found: Latencies) -> list[Row]:
    def p95(values: list[float]) -> float:
        return percentile(values, 0.95)

    def told(name: str, values: list[float]) -> list[Row]:
        slower, middle = p95(values) / p95(found.alone), percentile(values, 0.5) / percentile(found.alone, 0.5)
        return [
            Row(f"{name}: p95", p95(values) * 1000, "ms"),
            Row(f"{name}: p95, to alone", slower, "times", slower <= SLOWER),
            Row(f"{name}: p50, to alone", middle, "times"),
            Row(f"{name}: calls", len(values), ""),
        ]

    return [
        Row("interactive, alone: p95", p95(found.alone) * 1000, "ms"),
        Row("interactive, alone: calls", len(found.alone), ""),
        *told("a batch begins beside it", found.begun),
        *told("it comes to a batch", found.joined),
        Row("batch meanwhile", found.lines, "lines/s"),
    ]


async def measure(made: Plant, file: Path, calls: Calls, seconds: float, rest: float = REST) -> Latencies:
    """`seconds` of calls with a batch that begins, and to one that has run alone for `rest` seconds; without one half
    before and half after."""
    async with made.client() as client:
        await interactive(client, calls, 2.0)
        alone = await interactive(client, calls, seconds / 2)
        batch, _ = await begin(client, file)
        begun = await interactive(client, calls, seconds)
        lines = await _done(client, batch["id"])
        await asyncio.sleep(rest)
        before = await _done(client, batch["id"])
        joined = await interactive(client, calls, seconds)
        lines += await _done(client, batch["id"]) - before
        await _cancel(client, batch["id"])
        alone += await interactive(client, calls, seconds / 2)
    return Latencies(alone, begun, joined, lines / (2 * seconds))


async def _done(client: httpx.AsyncClient, batch: str) -> int:
    """Lines that were answered so far. BenchError where none are left."""
    told = (await client.get(f"/v1/batches/{batch}")).raise_for_status().json()
    if told["status"] in ENDED or told["status"] == "finalizing":
        raise BenchError("the batch was over before all calls were made: give it more lines (--beside)")
    done: int = told["request_counts"]["completed"]
    return done


async def _cancel(client: httpx.AsyncClient, batch: str) -> None:
    told = (await client.post(f"/v1/batches/{batch}/cancel")).raise_for_status().json()
    async with asyncio.timeout(CANCEL_SECONDS):
        while told["status"] not in ENDED:
            await asyncio.sleep(0.25)
            told = (await client.get(f"/v1/batches/{batch}")).json()


async def interactive(client: httpx.AsyncClient, calls: Calls, seconds: float) -> list[float]:
    """Seconds of each call, begun when it was due, for so long; whoever is late is waited for."""
    took: list[float] = []

    async def call(number: int) -> None:
        began = time.monotonic()
        headers = {"content-type": "application/json"}
        (await client.post(calls.path, content=calls.body(number), headers=headers)).raise_for_status()
        took.append(time.monotonic() - began)

    due = time.monotonic()
    async with asyncio.TaskGroup() as under_way:
        for number in range(max(1, int(seconds * calls.rate))):
            under_way.create_task(call(number))
            due += 1 / calls.rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
    return took


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
