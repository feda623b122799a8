"""What it takes the worker to look at a batch's lines before any of them is asked: processor time, and memory."""

import asyncio
import statistics
import time
from pathlib import Path

import httpx

from bench.batching.plant import Plant, product
from bench.batching.rows import Row
from bench.batching.run import begin
from bench.routing.processes import BenchError, free_port

SECONDS, BYTES = 0.3, 100_000_000
"""Wanted at most: of processor time for one batch, and of the whole process at its highest."""
POLL = 0.02
LONGEST = 60.0


def closed(now: float) -> str:
    """Hours of batches (`batch.hours`, UTC) that do not come within the run: nothing is asked, all is validated."""
    hour = (time.gmtime(now).tm_hour + 12) % 24
    return f"{hour:02}:00-{hour:02}:01"


def rows(folder: Path, file: Path, lines: int, batches: int) -> list[Row]:
    """The same file as so many batches, one after the other, by one worker."""
    with product(folder, free_port(), more={"DORMOUSE_BATCH_HOURS": closed(time.time())}) as made:
        before = made.worker.peak
        took = asyncio.run(_validated(made, file, lines, batches))
        peak = made.worker.peak
    seconds = statistics.median(took)
    return [
        Row("validation, worker's CPU for a batch", seconds, "s", seconds <= SECONDS),
        Row("the best of them", min(took), "s"),
        Row("the worker, whole process, before", before / 1e6, "MB"),
        Row("the same, at its highest", peak / 1e6, "MB", peak < BYTES),
    ]


async def _validated(made: Plant, file: Path, lines: int, batches: int) -> list[float]:
    """Seconds of the worker's processor time from each batch's creation to its validation."""
    took = []
    async with made.client() as client:
        for _ in range(batches):
            await asyncio.sleep(1.0)
            began = made.worker.cpu_seconds
            batch, _ = await begin(client, file)
            if (counted := await _lines(client, batch["id"])) != lines:
                raise BenchError(f"{counted} lines of {lines} were found good")
            took.append(made.worker.cpu_seconds - began)
    return took


async def _lines(client: httpx.AsyncClient, ident: str) -> int:
    async with asyncio.timeout(LONGEST):
        while True:
            batch = (await client.get(f"/v1/batches/{ident}")).raise_for_status().json()
            if batch["status"] != "validating":
                total: int = batch["request_counts"]["total"]
                return total
            await asyncio.sleep(POLL)
