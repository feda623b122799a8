"""Two router processes before one engine: keys are mounted, limits are in Redis, usage is in PostgreSQL."""

import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.routing.processes import free_port, python
from tests.router.access.test_keyfiles import mount
from tests.router.rawengine import Engine
from tests.router.shared.running import ended, listening, started
from tests.router.store.conftest import postgres as postgres
from tests.router.store.conftest import redis as redis
from tests.router.store.servers import Postgres

ADMIN = "admin-0123456789abcdefghijklm"


@dataclass
class Pair:
    """Both routers, each with a client of its own."""

    clients: list[httpx.AsyncClient]
    folder: Path

    def audit(self) -> list[dict[str, Any]]:
        """The lines of both."""
        files = sorted(self.folder.glob("audit-*"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


Start = Callable[..., AbstractAsyncContextManager[Pair]]


@pytest.fixture
def pair(tmp_path: Path, postgres: Postgres, redis: str) -> Start:
    """Gives both routers before an engine's port; keys by name, as a mounted file says them."""

    @contextlib.asynccontextmanager
    async def start(engine: int, keys: dict[str, dict[str, Any]], **environment: str) -> AsyncIterator[Pair]:
        mount(tmp_path / "keys", "team", {name: json.dumps(key) for name, key in keys.items()})
        mount(tmp_path / "keys", "ops", {"admin": json.dumps({"key": ADMIN, "role": "admin"})})
        known = {
            "DORMOUSE_DATABASE_URL": await postgres.new_database(),
            "DORMOUSE_FILES": f"file://{tmp_path}/files",
            "DORMOUSE_ACCESS_MODES": "keys",
            "DORMOUSE_ACCESS_KEYS": str(tmp_path / "keys"),
            "DORMOUSE_ACCESS_LIMITS": redis,
        } | environment
        async with contextlib.AsyncExitStack() as stack:
            clients = []
            for number in range(2):
                port = free_port()
                env = os.environ | known | {"DORMOUSE_AUDIT": str(tmp_path / f"audit-{number}")}
                process = await started(python("tests.router.shared.process", port, engine), env)
                stack.push_async_callback(ended, process)
                await listening(process, port)
                client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False)
                clients.append(await stack.enter_async_context(client))
            yield Pair(clients, tmp_path)

    return start


@pytest.fixture
async def scripted() -> AsyncIterator[Engine]:
    made = Engine()
    await made.start()
    yield made
    await made.stop()
