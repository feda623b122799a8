"""A large upload beside chats: no turn of the router's event loop takes long because of it."""

import asyncio
import gc
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.routing.processes import python
from dormouse_router.store import open_store
from tests.router.fakes import SETTINGS, stage, until

pytestmark = pytest.mark.slow
SIZE = 200 * 1024 * 1024
MOST = 0.005
"""Seconds of this thread's own time: what other processes take of the machine is not counted."""


@pytest.fixture
def tidy() -> Iterator[None]:
    """What the tests before this one have left is not looked at, as what a router's start has made is not."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


async def turns(times: list[float]) -> None:
    """The processor time of each turn of the loop."""
    before = time.thread_time()
    while True:
        await asyncio.sleep(0)
        now = time.thread_time()
        times.append(now - before)
        before = now


@pytest.mark.usefixtures("tidy")
async def test_a_large_upload_does_not_hold_the_loop(tmp_path: Path) -> None:
    places: dict[str, Any] = {"database_url": f"sqlite:///{tmp_path}/one.db", "files": f"file://{tmp_path}/files"}
    async with open_store(replace(SETTINGS, **places)) as keeping, stage(keeping, **places) as world:
        await until(lambda: keeping.trouble() is None, 60)  # its tables are made in this loop, too
        async with httpx.AsyncClient(base_url=world.url, timeout=60) as first:  # the first one is what imports
            assert (await first.post("/v1/files", files={"file": ("a", b"x")}, data={"purpose": "vision"})).is_success
        client = await asyncio.create_subprocess_exec(
            *python("tests.router.files.sending", world.url, SIZE), stdout=asyncio.subprocess.PIPE
        )
        times: list[float] = []
        watching = asyncio.create_task(turns(times))
        said, _ = await client.communicate()
        watching.cancel()
    assert said.decode().strip() == f"200 {SIZE}"
    times.sort()
    print(f"{len(times)} turns, longest {times[-1] * 1000:.2f} ms, p99.9 {times[-len(times) // 1000] * 1000:.2f} ms")  # noqa: T201
    assert times[-len(times) // 1000] < MOST
    assert times[-1] < 4 * MOST
