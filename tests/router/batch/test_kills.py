"""Worker, router, database and engine killed at random moments of a batch: every line has one result.

`DORMOUSE_KILLS` says how often each of them is killed (2), `DORMOUSE_KILL_LINES` how many lines the batch has (1000).
"""

import asyncio
import contextlib
import json
import os
import random
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.batching.run import CHAT, write_lines
from bench.routing.bodies import MODEL
from bench.routing.processes import Process, await_port, free_port, python
from tests.router.store.servers import Postgres, postgres

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("DORMOUSE_KILLS", "2"))
LINES = int(os.environ.get("DORMOUSE_KILL_LINES", "1000"))
SLOTS, SECONDS = 16, 0.08
DEADLINE = 120.0 + LINES / SLOTS * SECONDS * 4 + KILLS * 20
ENDS = ("completed", "failed", "expired", "cancelled")


class Part:
    """A process that is killed and started again on the same port."""

    def __init__(self, command: list[str], port: int) -> None:
        self._command, self._port = command, port
        self.start()

    def start(self) -> None:
        self.process = Process(self._command, random.choice(sorted(os.sched_getaffinity(0))))  # noqa: S311
        await_port(self.process, self._port, 60)

    def kill(self) -> None:
        self.process.end()


class Plant:
    """All parts over one PostgreSQL and one folder of files."""

    def __init__(self, folder: Path, database: Postgres, url: str) -> None:
        engine, router, ops = (free_port() for _ in range(3))
        env = {
            "DORMOUSE_HOST": "127.0.0.1",
            "DORMOUSE_DATABASE_URL": url,
            "DORMOUSE_FILES": f"file://{folder}/files",
            "DORMOUSE_ROUTER_URL": f"http://127.0.0.1:{router}",
            "DORMOUSE_WORKER_OPS_PORT": str(ops),
            "DORMOUSE_WORKER_IN_FLIGHT": str(4 * SLOTS),
        }
        told = ["env", *(f"{name}={value}" for name, value in env.items())]
        self.url, self.database = env["DORMOUSE_ROUTER_URL"], database
        self.parts = {
            "engine": Part(python("bench.batching.engine", engine, SLOTS, SECONDS, 0.0), engine),
            "router": Part([*told, *python("bench.batching.router", router, f"{MODEL}={engine}")], router),
            "worker": Part([*told, *python("tests.router.batch.hasty")], ops),
        }

    async def strike(self, victim: str) -> None:
        """Kill it without a word, and have it back a moment later."""
        part: Any = self.database if victim == "database" else self.parts[victim]
        await asyncio.to_thread(part.stop if victim == "database" else part.kill)
        await asyncio.sleep(random.uniform(0.0, 0.5))  # noqa: S311
        await asyncio.to_thread(part.start)

    def end(self) -> None:
        for part in self.parts.values():
            part.kill()


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A server of its own: others would notice."""
    with (
        tempfile.TemporaryDirectory(prefix="dormouse-pg-", ignore_cleanup_errors=True) as folder,
        postgres(Path(folder)) as made,
    ):
        yield made


async def patiently(attempt: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """The first answer of whoever is there and can say."""
    async with asyncio.timeout(DEADLINE):
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await attempt()
                if answer.status_code < 500:
                    return answer.raise_for_status()
            await asyncio.sleep(0.1)


async def strikes(plant: Plant, done: Callable[[], bool]) -> Counter[str]:
    """Each part as often as wanted, in any order, as long as there is something to disturb."""
    order = [victim for victim in ("database", *plant.parts) for _ in range(KILLS)]
    random.shuffle(order)
    struck: Counter[str] = Counter()
    for victim in order:
        await asyncio.sleep(random.uniform(0.1, 0.8))  # noqa: S311
        if done():
            break
        await plant.strike(victim)
        struck[victim] += 1
    return struck


async def test_every_line_has_one_result_whoever_is_killed(tmp_path: Path, server: Postgres) -> None:
    file = tmp_path / "lines.jsonl"
    write_lines(file, LINES, 400)
    plant = Plant(tmp_path, server, await server.new_database())
    try:
        async with httpx.AsyncClient(base_url=plant.url, timeout=30, trust_env=False) as client:
            upload = {"file": ("lines.jsonl", file.read_bytes())}
            made = await patiently(lambda: client.post("/v1/files", data={"purpose": "batch"}, files=upload))
            fields = {"input_file_id": made.json()["id"], "endpoint": CHAT, "completion_window": "24h"}
            batch = (await patiently(lambda: client.post("/v1/batches", json=fields))).json()
            ended: list[dict[str, Any]] = []

            async def watch() -> None:
                while not ended:
                    seen = (await patiently(lambda: client.get(f"/v1/batches/{batch['id']}"))).json()
                    counts = seen["request_counts"]
                    assert counts["completed"] + counts["failed"] <= counts["total"]
                    if seen["status"] in ENDS:
                        ended.append(seen)
                    await asyncio.sleep(0.1)

            watching = asyncio.create_task(watch())
            struck = await strikes(plant, lambda: bool(ended) or watching.done())
            await asyncio.wait_for(watching, DEADLINE)
            print(f"killed: {dict(struck)}")  # noqa: T201 - a figure for whoever runs this with -s
            await _judge(client, ended[0])
            assert all(struck[victim] for victim in ("worker", "router", "database", "engine")), struck
    finally:
        plant.end()


async def _judge(client: httpx.AsyncClient, batch: dict[str, Any]) -> None:
    assert batch["status"] == "completed", batch
    assert batch["request_counts"] == {"total": LINES, "completed": LINES, "failed": 0}
    assert batch["error_file_id"] is None
    content = await patiently(lambda: client.get(f"/v1/files/{batch['output_file_id']}/content"))
    assert content.text.endswith("\n")
    found = [json.loads(line) for line in content.text.splitlines()]
    assert Counter(line["custom_id"] for line in found) == Counter(f"r-{number}" for number in range(LINES))
    assert {line["response"]["status_code"] for line in found} == {200}
    assert batch["usage"]["output_tokens"] == 100 * LINES
