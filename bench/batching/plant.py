"""Router and worker as processes of their own, before an engine that runs already."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.routing.bodies import MODEL
from bench.routing.processes import Process, free_port, python, running
from dormouse_api.metrics import BATCH_TOKENS, BATCH_WINDOW

START_SECONDS = 90.0
"""A busy machine takes its time to import everything."""


@dataclass(frozen=True)
class Plant:
    """Everything that runs."""

    url: str
    engine_port: int
    ops: str
    """Of the worker."""
    router: Process
    worker: Process

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=600, trust_env=False)

    def window(self) -> float:
        """How many lines at once the worker has found to be right."""
        return max(self._told(f"{BATCH_WINDOW}{{"))

    def tokens(self) -> float:
        """Those of all lines' answers, prompts not counted, by the worker's own record."""
        return sum(self._told(f"{BATCH_TOKENS}{{", 'kind="completion"'))

    def _told(self, name: str, label: str = "") -> list[float]:
        text = httpx.get(f"{self.ops}/metrics", trust_env=False, timeout=60).text
        return [float(line.split()[-1]) for line in text.splitlines() if line.startswith(name) and label in line]


@contextlib.contextmanager
def product(
    folder: Path,
    engine: int,
    router_core: int | None = None,
    worker_core: int | None = None,
    more: Mapping[str, str] | None = None,
) -> Iterator[Plant]:
    """What the chart would start, over SQLite and a folder; `engine` is the port of the only model's only engine.

    `more`: settings.
    """
    router, ops = free_port(), free_port()
    store = {"DORMOUSE_DATABASE_URL": f"sqlite:///{folder}/router.db", "DORMOUSE_FILES": f"file://{folder}/files"}
    env = {**store, "DORMOUSE_ROUTER_URL": f"http://127.0.0.1:{router}", "DORMOUSE_WORKER_OPS_PORT": str(ops)}
    env |= more or {}
    with contextlib.ExitStack() as stack, (folder / "worker.log").open("wb") as output:
        told = ["env", "DORMOUSE_HOST=127.0.0.1", *(f"{name}={value}" for name, value in env.items())]
        command = [*told, *python("bench.batching.router", router, f"{MODEL}={engine}")]
        routing = stack.enter_context(running(command, router_core, router, seconds=START_SECONDS))
        command = [*told, *python("dormouse_router.worker.process")]
        working = stack.enter_context(running(command, worker_core, ops, seconds=START_SECONDS, output=output))
        yield Plant(f"http://127.0.0.1:{router}", engine, f"http://127.0.0.1:{ops}", routing, working)


def cores() -> int:
    return len(os.sched_getaffinity(0))
