"""One batch over HTTP, from its upload to its files."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bench.routing.bodies import MODEL
from bench.routing.processes import BenchError, Process

POLL = 0.25
CHAT = "/v1/chat/completions"


def write_lines(file: Path, count: int, size: int) -> None:
    """An input of so many chats of about `size` bytes, no two alike."""
    with file.open("wb") as out:
        for number in range(count):
            text = f"Line {number}: " + "the quick brown fox " * (max(0, size - 150) // 20)
            body = {"model": MODEL, "messages": [{"role": "user", "content": text}]}
            out.write(json.dumps({"custom_id": f"r-{number}", "method": "POST", "url": CHAT, "body": body}).encode())
            out.write(b"\n")


@dataclass
class Watched:
    """What a batch came to. Seconds since it was created, bytes of the worker."""

    lines: int
    upload: float = 0.0
    validated: float = 0.0
    first: float = 0.0
    """When the first lines were counted."""
    last: float = 0.0
    """When the last lines were counted."""
    ended: float = 0.0
    prompt: int = 0
    """Tokens, as the output's lines tell them."""
    completion: int = 0
    worker_cpu: float = 0.0
    router_cpu: float = 0.0
    memory: list[tuple[float, int]] = field(default_factory=list)


async def begin(client: httpx.AsyncClient, file: Path) -> tuple[dict[str, Any], float]:
    """Upload and create. The batch, and seconds of the upload."""
    began = time.monotonic()
    with file.open("rb") as data:
        made = (await client.post("/v1/files", data={"purpose": "batch"}, files={"file": data})).raise_for_status()
    upload = time.monotonic() - began
    with file.open() as lines:
        endpoint = json.loads(lines.readline())["url"]
    fields = {"input_file_id": made.json()["id"], "endpoint": endpoint, "completion_window": "24h"}
    batch: dict[str, Any] = (await client.post("/v1/batches", json=fields)).raise_for_status().json()
    return batch, upload


async def run_batch(client: httpx.AsyncClient, file: Path, worker: Process, router: Process) -> Watched:
    """Upload, create, wait for the end and count its output."""
    cpu = worker.cpu_seconds, router.cpu_seconds
    batch, upload = await begin(client, file)
    began = time.monotonic()
    watched = Watched(0, upload)
    while not batch.get("completed_at"):
        if batch["status"] in ("failed", "expired", "cancelled"):
            raise BenchError(f"the batch ended as {batch['status']}: {batch['errors']}")
        await asyncio.sleep(POLL)
        batch = (await client.get(f"/v1/batches/{batch['id']}")).json()
        _note(watched, batch, time.monotonic() - began)
        watched.memory.append((time.monotonic() - began, worker.private))
    watched.ended = time.monotonic() - began
    watched.worker_cpu, watched.router_cpu = worker.cpu_seconds - cpu[0], router.cpu_seconds - cpu[1]
    await _count(client, batch, watched)
    return watched


def _note(watched: Watched, batch: dict[str, Any], now: float) -> None:
    counts = batch["request_counts"]
    if counts["total"] and not watched.validated:
        watched.validated = now
    if counts["completed"] and not watched.first:
        watched.first = now
    if counts["completed"] == counts["total"] and counts["total"] and not watched.last:
        watched.last = now


async def _count(client: httpx.AsyncClient, batch: dict[str, Any], watched: Watched) -> None:
    """Lines of the output, each of another request, and their tokens. BenchError where that is not all of them."""
    seen: set[str] = set()
    async with client.stream("GET", f"/v1/files/{batch['output_file_id']}/content") as answer:
        async for line in answer.aiter_lines():
            told = json.loads(line)
            seen.add(told["custom_id"])
            usage = told["response"]["body"]["usage"]
            watched.prompt += usage["prompt_tokens"]
            watched.completion += usage["completion_tokens"]
    watched.lines = len(seen)
    if watched.lines != batch["request_counts"]["total"]:
        raise BenchError(f"{watched.lines} lines of {batch['request_counts']['total']} were answered")
